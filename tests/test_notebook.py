"""The notebook in docs/ runs, and its cells show what the text beside them says."""

import pathlib
import re

import nbclient
import nbformat
import pytest

NOTEBOOK = pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'first_model.ipynb'


@pytest.fixture(scope='module')
def outputs(tmp_path_factory):
    """What the cells show, as one text. Running them takes over a minute."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp('notebook')
    with pytest.MonkeyPatch.context() as patch:
        # With it in its environment, a kernel does not show what is written to descriptor 1.
        patch.delenv('PYTEST_CURRENT_TEST', raising=False)
        nbclient.NotebookClient(notebook, timeout=1200, resources={'metadata': {'path': str(folder)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get('outputs', ())]
    return '\n'.join(output.get('text') or output.data.get('text/html') or output.data['text/plain']
                     for output in shown)


@pytest.mark.slow
def test_every_cell_shows_its_result(outputs):
    assert '<Run accepted; digits: accuracy' in outputs
    assert '<iframe sandbox srcdoc="&lt;!DOCTYPE html&gt;' in outputs
    assert "'labels': ['seven', " in outputs and "'labels': ['tone', " in outputs
    assert int(re.search(r'(\d+)% of 100', outputs)[1]) > 50


@pytest.mark.slow
def test_nothing_but_a_run_is_shown(outputs):
    assert '[ 1/19] ' in outputs and 'The gate accepted the model' in outputs
    assert '\x1b' not in outputs, 'control characters of a terminal'
    assert 'jquery' not in outputs.lower(), 'scripts of a library'


def test_it_is_saved_without_paths_of_a_machine():
    text = NOTEBOOK.read_text()
    assert not re.search(r'/(home|root|tmp|work|Users)/', text)
