"""A run's report with a section for each study under its root: a page beside those of the studies.

Studies come after the runs whose examples they take, so no run's own report can have them.
"""

import os
import sys

from model_code import file_io
from model_code.errors import PipelineStop
from pipeline import roots, run_record
from pipeline.study import comparison, page

_BEFORE = '<h2>Data</h2>'  # sections come where the report turns from models to data


def write(record: run_record.Record) -> str:
    """Writes the report of a run with the sections; returns its path, that of the run's own report without any study.

    What keeps a section out is said on standard error, and hides no report.
    """
    sections = [section for html in roots.study_pages(record.root)
                if (section := _section(str(html.with_suffix('.json')), record.id))]
    if not sections or not os.path.isfile(record.report):
        return record.report
    path = str(roots.study_dir(record.root) / 'report.html')
    try:
        before, mark, after = file_io.read_text(record.report).partition(_BEFORE)
        file_io.write(path, ''.join([before, *sections, mark, after]).encode('utf-8', 'backslashreplace'))
    except OSError as error:
        print(f'The report is shown without its studies: {path} cannot be written: {error}.', file=sys.stderr)
        return record.report
    return path


def _section(path: str, run: str) -> str:
    try:
        study = file_io.read_result(path)
        if study is None or study.get('version') != comparison.VERSION:
            return ''
        return page.section(study, run)
    except (PipelineStop, OSError, LookupError) as error:
        print(f'The report has no section of {path}: {error}', file=sys.stderr)
        return ''
