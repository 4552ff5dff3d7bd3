"""Runs docs/first_model.ipynb anew and saves it with its outputs, all but the report: that holds a megabyte of media.

Run: .venv/bin/python scripts/save_notebook.py
"""

import os
import pathlib
import shutil
import sys

import nbclient
import nbformat

NOTEBOOK = pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'first_model.ipynb'
RUNS = NOTEBOOK.parent / 'runs'  # what the notebook makes


def strip(notebook: nbformat.NotebookNode):
    """Takes out the pages that cells show, and the times at which they ran."""
    for cell in notebook.cells:
        cell.metadata.clear()
        for output in cell.get('outputs', ()):
            if 'text/html' in output.get('data', {}):
                del output.data['text/html']  # its text says where the page is


def main():
    shutil.rmtree(RUNS, ignore_errors=True)
    os.environ['PATH'] = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ['PATH']])
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    try:
        nbclient.NotebookClient(notebook, timeout=1200, coalesce_streams=True,
                                resources={'metadata': {'path': str(NOTEBOOK.parent)}}).execute()
    finally:
        shutil.rmtree(RUNS, ignore_errors=True)
    strip(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == '__main__':
    main()
