"""The arguments of the command `polyvit`. Nothing heavy is imported here: `polyvit --help` answers at once."""

import argparse
import dataclasses
import re

from pipeline.command_parser import Parser
from pipeline.exit_codes import MEANINGS
from pipeline.study import SEEDS
from serving.limits import Limits, flag

DESCRIPTION = 'Train one PolyViT on folders of images, videos and sounds, check it, push it, serve it.'
EPILOG = '\n'.join([
    'CONFIG is a name (demo, real_small, captions_small, nine) or the path of a Python file with get_config().', '',
    'exit codes:',
    *(f'{code:>5}  {meaning}' for code, meaning in MEANINGS.items())])

PREDICT_EXAMPLES = '''\
examples:
  polyvit predict digits photo.png                      asks the server on this machine
  polyvit predict digits photos/ 'more/*.jpg' --top 10  a folder and a pattern; ten labels of each file
  polyvit predict sounds https://example.org/bird.mp3   a file behind a URL
  ffmpeg -i talk.mkv -f wav - | polyvit predict sounds -
  polyvit predict digits photos/ --json > labels.jsonl
  polyvit predict digits photo.png --curl | sh          the same request, by curl
  polyvit predict digits photo.png --model runs/demo/serving/polyvit   without a server

A file that cannot be read is named, the others are answered, and the exit code is 1.'''

# SUPPRESS, because otherwise the subcommand's default would undo a --debug before the command.
_COMMON = Parser(add_help=False)
_COMMON.add_argument('--debug', action='store_true', default=argparse.SUPPRESS, help='print tracebacks')


def build_parser() -> Parser:
    """The parser of the command line. parse_args() raises ConfigError; its `command` is a key of cli.COMMANDS.

    `command` is '' or the name of a group if only that was typed.
    """
    parser = Parser('polyvit', description=DESCRIPTION, epilog=EPILOG, parents=[_COMMON],
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--version', action='store_true', help='print the versions of polyvit, Python, TensorFlow, TFX')
    parser.set_defaults(group=parser, command='')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    demo = _add(commands, 'demo', 'make the demo media, run the pipeline, serve and query the model')
    demo.add_argument('--root', metavar='DIR', default='runs/demo',
                      help='the folder for everything that it writes (default: %(default)s)')
    init = _add(commands, 'init', 'look at a folder of your media, guess its tasks, and write a config for them')
    init.add_argument('dir', metavar='DIR', help='the folder of your media')
    init.add_argument('-o', '--output', metavar='FILE',
                      help="the Python file to write (default: the folder's name, in the current folder)")
    init.add_argument('--force', action='store_true', help='replace the file if it exists')
    _add_data_commands(commands)
    _add_config_commands(commands)
    _add_submit(commands)
    _add_model_commands(commands)
    _add_other_commands(commands)
    return parser


def _add(commands, name: str, help: str, group: str = '') -> Parser:
    command = commands.add_parser(name, help=help, description=f'{help[0].upper()}{help[1:]}.', parents=[_COMMON])
    command.set_defaults(command=f'{group} {name}'.strip())
    return command


def _add_config(command, **options):
    command.add_argument('config', metavar='CONFIG', help="a config's name, or the path of its file", **options)
    command.add_argument('--data', metavar='DIR', help="the folder of the config's data (default: $POLYVIT_DATA)")
    command.add_argument('--set', metavar='PATH=VALUE', action='append', default=[],
                         help='another value of a field, such as training.learning_rate=3e-4 or '
                              'tasks.NAME.recipe.steps=800; may be given several times')


def _add_json(command, **options):
    command.add_argument('--json', action='store_true', help='print JSON', **options)


def _add_data_commands(commands):
    data = commands.add_parser('data', help='make the demo media; check, show or export your own, find scenes',
                               description='Make the demo media; check, show or export your own, find scenes.')
    data.set_defaults(group=data, command='data')
    data_commands = data.add_subparsers(title='commands', metavar='COMMAND')
    make = _add(data_commands, 'demo', 'make the demo media: three modalities, no download', 'data')
    make.add_argument('dir', metavar='DIR', help='the folder to make them in')
    check = _add(data_commands, 'check',
                 'read every file as a run would; print what is rejected, duplicates, and leaks between splits', 'data')
    _add_config(check)
    _add_json(check)
    scenes = _add(data_commands, 'scenes', 'find the clips of a video task that are of one scene, and write them down '
                  'for its `groups`', 'data')
    _add_config(scenes)
    scenes.add_argument('task', metavar='TASK', help='the name of the task')
    scenes.add_argument('-o', '--output', metavar='FILE', required=True,
                        help='the CSV file to write, such as scenes.csv; a page with pictures is written beside it')
    show = _add(data_commands, 'show', 'write a page of examples by task and class: pictures, frames, sounds', 'data')
    _add_config(show)
    show.add_argument('-o', '--output', metavar='FILE',
                      help="the .html file to write (default: the config's name and -examples.html)")
    export = _add(data_commands, 'export', "write which media a config's tasks have, with their labels and splits, for "
                                           'other tools', 'data')
    _add_config(export)
    export.add_argument('--croissant', action='store_true',
                        help='as Croissant 1.1: TASK.croissant.json, and a table of the examples, for each task')
    export.add_argument('-o', '--output', metavar='DIR', default='',
                        help="where to write them (default: the task's data folder, to which their paths are relative)")
    export.add_argument('--license', metavar='URL', default='', help='the license of the data (default: unknown)')
    export.add_argument('--url', metavar='URL', default='', help='the page of the data (default: unknown)')
    export.add_argument('--creator', metavar='NAME', default='', help='who made the data (default: unknown)')


def _add_config_commands(commands):
    plan = _add(commands, 'plan', 'print what a config costs: parameters, FLOPs, storage, time; and a study of it')
    _add_config(plan)
    _add_json(plan)
    plan.add_argument('--measure', action='store_true',
                      help="measure this machine's processor, which takes a second, instead of assuming its speed")
    plan.add_argument('--flops', type=float, metavar='N', help='peak FLOP/s of one accelerator (default: 312e12)')
    plan.add_argument('--utilisation', type=float, metavar='N',
                      help="the share of an accelerator's peak that training reaches (default: 0.35)")
    plan.add_argument('--accelerators', type=int, metavar='N',
                      help='how many accelerators train together (default: 1)')

    run = _add(commands, 'run', 'run the pipeline on this machine')
    _add_config(run)
    run.add_argument('--root', metavar='DIR',
                     help="the folder for everything that it writes (default: runs/ and the config's name)")
    run.add_argument('--verbose', action='store_true',
                     help='keep in the log all lines of messages that have several, such as the dumps of TFX')
    run.add_argument('--force', metavar='REASON',
                     help='push the model even if the gate rejects it, unless it would not serve or has lost a task or '
                          'class; the reason is kept in its model card and shown in the report')
    run.add_argument('--dry-run', action='store_true',
                     help='write nothing; print which components would run, why, and what it costs')

    study = _add(commands, 'study', 'tell whether co-training pays, or a change of its settings: train both ways on '
                 'what a run has ingested, over several seeds, and compare')
    _add_config(study)
    study.add_argument('--root', metavar='DIR',
                       help="the root of the run that ingested them (default: runs/ and the config's name)")
    study.add_argument('--change', metavar='PATH=VALUE', action='append', default=[],
                       help='compare all tasks together with and without another value of a field, named as for --set; '
                            'several times: with all of these changes and without any')
    study.add_argument('--seeds', metavar='N', type=int, default=SEEDS,
                       help='how many times each training is done, each with another seed (default: %(default)s)')
    study.add_argument('--dry-run', action='store_true', help='write nothing; print what the study costs')
    _add_json(study)

    compile_ = _add(commands, 'compile', 'compile the pipeline for Kubeflow Pipelines v2 or Vertex AI')
    _add_config(compile_)
    compile_.add_argument('-o', '--output', metavar='FILE', required=True,
                          help='the file to write; ends in .yaml for Kubeflow Pipelines, in .json for Vertex AI')
    compile_.add_argument('--target', choices=('kfp', 'vertex'),
                          help='what it is for: Kubeflow Pipelines or Vertex AI (default: as the ending of FILE says)')
    compile_.add_argument('--root', metavar='URL',
                          help='the bucket, or the folder in it, for everything that a run writes: minio:// (the store '
                               'that Kubeflow Pipelines comes with), s3:// or gs://; for Vertex AI gs://')
    compile_.add_argument('--image', metavar='IMAGE', help='the container image, built from kubeflow/Dockerfile')
    compile_.add_argument('--fail-if-rejected', action='store_true',
                          help='fail the run, after its report, if the gate rejects the model')


def _add_submit(commands):
    submit = _add(commands, 'submit', 'run the pipeline on Kubeflow Pipelines or Vertex AI, and follow it to its end')
    _add_config(submit, nargs='?')
    submit.add_argument('--root', metavar='URL', help='as for compile')
    submit.add_argument('--image', metavar='IMAGE', help='the container image, built from kubeflow/Dockerfile')
    submit.add_argument('--target', choices=('kfp', 'vertex'), default='kfp',
                        help='Kubeflow Pipelines or Vertex AI (default: %(default)s)')
    submit.add_argument('--host', metavar='URL', default='',
                        help='the address of Kubeflow Pipelines, such as http://localhost:8080; by default what kfp '
                             'finds')
    submit.add_argument('--namespace', metavar='NAME', default='',
                        help='your namespace, where Kubeflow Pipelines has several users')
    submit.add_argument('--experiment', metavar='NAME', default='', help='the experiment that the run belongs to')
    submit.add_argument('--parameter', metavar='NAME=VALUE', action='append', default=[],
                        help='a parameter of the run, such as data_version=2026-11-26; may be given several times')
    when = submit.add_mutually_exclusive_group()
    when.add_argument('--recurring', metavar='CRON',
                      help="start it again and again, such as '0 3 * * *', each day at 3:00 UTC, in place of the "
                           'recurring run of this pipeline')
    when.add_argument('--no-follow', action='store_true', help='start the run and return')
    when.add_argument('--follow', metavar='RUN', help='follow a run that was started before; needs no CONFIG')


def _add_model_commands(commands):
    report = _add(commands, 'report', 'print what the last run came to: decision, reasons, metrics, paths')
    report.add_argument('--root', metavar='DIR', help='the root of the run (default: the newest under runs/)')
    report.add_argument('--check', action='store_true', help='exit as the run did')
    report.add_argument('--compare', nargs=2, metavar=('A', 'B'),
                        help='write a page with two runs side by side, each given by its id (polyvit runs) or its root')
    report.add_argument('-o', '--output', metavar='FILE', help="the page of --compare (default: named after both runs)")
    _add_json(report)

    serve = _add(commands, 'serve', 'serve models over REST and gRPC, as TensorFlow Serving does')
    serve.add_argument('dir', metavar='DIR', nargs='?',
                       help='the folder of the version directories; may be a URL, such as s3://BUCKET/serving/polyvit')
    serve.add_argument('--model-name', metavar='NAME', default='polyvit',
                       help='the name by which clients ask for the model (default: %(default)s)')
    serve.add_argument('--model-config', metavar='FILE',
                       help="in place of DIR: several models, in a file of TensorFlow Serving's format")
    serve.add_argument('--host', default='127.0.0.1', help='the address to listen on (default: %(default)s)')
    serve.add_argument('--port', type=int, default=8501, help='for REST; 0 takes a free one (default: %(default)s)')
    serve.add_argument('--grpc-port', metavar='PORT', type=int, default=8500,
                       help='for gRPC; 0 takes a free one (default: %(default)s)')
    serve.add_argument('--cors', action='store_true',
                       help="let web pages of any origin ask it, as TensorFlow Serving's "
                            '--rest_api_enable_cors_support')
    serve.add_argument('--no-page', action='store_true', help='leave out the page at /, on which people try the models')
    serve.add_argument('--access-log', metavar='FILE', default='',
                       help="write a JSON object for each request to this file, or to standard output for '-'")
    _add_require_signature(serve, 'serve')
    batching = serve.add_mutually_exclusive_group()
    batching.add_argument('--batching-parameters-file', metavar='FILE',
                          help="how requests share runs of the model, in a file of TensorFlow Serving's format")
    batching.add_argument('--no-batching', action='store_true', help='run the model for each request by itself')
    bounds = serve.add_argument_group('bounds', 'What one client, and all together, may ask of the server.')
    for field in dataclasses.fields(Limits):
        bounds.add_argument(flag(field.name), metavar='N', type=type(field.default), default=field.default,
                            help=f'{field.metadata["help"]} (default: %(default)s)')

    sync = _add(commands, 'sync', 'copy the versions in an object store to a folder, for TensorFlow Serving')
    sync.add_argument('url', metavar='URL', help='the folder of the version directories, such as '
                                                 's3://BUCKET/serving/polyvit or gs://BUCKET/serving/polyvit')
    sync.add_argument('dir', metavar='DIR', help='the folder that gets the two newest versions')
    sync.add_argument('--every', metavar='SECONDS', type=float,
                      help='go on: look for new and removed versions after so many seconds')
    _add_require_signature(sync, 'copy')

    _add_predict(commands)

    probe = _add(commands, 'probe', "measure a model's frozen representation: a linear probe, and few-shot "
                 'classification, on tasks that a run has ingested')
    _add_config(probe)
    probe.add_argument('--model', metavar='DIR',
                       help='a version directory, or the folder of them; may be a URL (default: what the root serves)')
    probe.add_argument('--task', metavar='TASK', action='append', default=[],
                       help='a task of the config; may be given several times (default: all)')
    probe.add_argument('--root', metavar='DIR',
                       help="the root of the run that ingested them (default: runs/ and the config's name)")
    _add_json(probe)

    export = _add(commands, 'export', 'convert a pushed version to TensorFlow Lite, for devices')
    export.add_argument('dir', metavar='DIR', help='a version directory, or the folder of them; may be a URL')
    export.add_argument('-o', '--output', metavar='FILE', required=True,
                        help='the .tflite file to write; a .json file beside it gets the labels')

    card = _add(commands, 'card', 'print the model card of a pushed version, as JSON')
    card.add_argument('dir', metavar='DIR', help='a version directory, or the folder of them; may be a URL')
    card.add_argument('--cyclonedx', action='store_true',
                      help='as a bill of materials for other tools: CycloneDX 1.6, with data sets and libraries')


def _add_require_signature(command, verb: str):
    command.add_argument('--require-signature', metavar='PUBLIC_KEY', default='',
                         help=f'{verb} only versions that are exactly what was signed with one of the keys in this PEM '
                              'file')


def _add_predict(commands):
    predict = _add(commands, 'predict', 'print the labels of files, or write the scores of all files in a folder')
    predict.formatter_class = argparse.RawDescriptionHelpFormatter
    predict.epilog = PREDICT_EXAMPLES
    predict.add_argument('task', metavar='TASK', help="the task's name")
    predict.add_argument('files', metavar='FILE', nargs='+',
                         help='images, videos, sounds or texts, one in each: paths, folders, patterns such as '
                              '"photos/*.jpg", URLs (https://, s3://, gs://), or - for standard input; with -o one '
                              'folder')
    predict.add_argument('-o', '--output', metavar='FILE',
                         help='write a row for each file in the folder to this .csv, .jsonl or .parquet; interrupted, '
                              'it goes on where it was')
    predict.add_argument('--embedding', action='store_true',
                         help='with -o: write the representation in place of the scores')
    server_or_model = predict.add_mutually_exclusive_group()
    server_or_model.add_argument('--url', help='the server to ask (default: http://127.0.0.1:8501, or port 8500 with '
                                               '--grpc)')
    server_or_model.add_argument('--model', metavar='DIR',
                                 help='in place of a server: a version directory, or the folder of them; may be a URL')
    predict.add_argument('--grpc', action='store_true', help='ask the server by gRPC')
    predict.add_argument('--wait', metavar='SECONDS', type=float, nargs='?', const=120.0,
                         help='wait for a server that is starting or loading (without a number: %(const)g seconds)')
    predict.add_argument('--timeout', metavar='SECONDS', type=float,
                         help='for each request, with its retries, and to fetch a file from a URL (default: 60)')
    predict.add_argument('--model-name', metavar='NAME', default='polyvit',
                         help="the model's name on the server (default: %(default)s)")
    predict.add_argument('--top', metavar='K', type=int, help='how many labels to print of each file (default: 5)')
    predict.add_argument('--batch', metavar='N', type=int, help='how many files to send at once (default: 16)')
    predict.add_argument('--curl', action='store_true',
                         help='send nothing; print the request as a command for a shell, with curl')
    predict.add_argument('--json', action='store_true', help='print a JSON object per line, one for each file')


def _add_runs(commands):
    runs = _add(commands, 'runs', 'list the runs, newest first; `polyvit runs show` prints all of one')
    runs.add_argument('--root', metavar='DIR', help='the root of the runs (default: all under runs/)')
    _add_json(runs)
    show = _add(runs.add_subparsers(title='commands', metavar='[COMMAND]'), 'show',
                'print all of one run: what it came to, why, and what each component did', 'runs')
    show.add_argument('run', metavar='RUN', nargs='?', help='its id, or the beginning of it (default: the newest run)')
    # Without a default, because it would undo a --root before `show`.
    show.add_argument('--root', metavar='DIR', default=argparse.SUPPRESS, help='the root of the run')
    _add_json(show, default=argparse.SUPPRESS)


def _add_other_commands(commands):
    _add_runs(commands)
    clean = _add(commands, 'clean', 'free the space of old runs; never of what is served or its baseline')
    clean.add_argument('--root', metavar='DIR', help='the root of the runs (default: all under runs/)')
    clean.add_argument('--keep', metavar='N', type=int, default=3,
                       help='keep what the newest N runs used, and the newest N versions (default: %(default)s)')
    clean.add_argument('--older-than', metavar='AGE', type=age,
                       help='remove only what is older, such as 12h, 7d or 4w; also trainings that did not finish')
    clean.add_argument('--dry-run', action='store_true', help='say what would be removed, and remove nothing')
    clean.add_argument('--yes', action='store_true', help='do not ask')

    doctor = _add(commands, 'doctor', 'look at the machine and what is installed; say what is wrong and how to fix it')
    doctor.add_argument('--root', metavar='DIR', default='runs',
                        help='the folder where runs go, whose disk it looks at (default: %(default)s)')
    doctor.add_argument('--beam', metavar='CONFIG',
                        help="in place of this machine: send one element through the config's Beam runner, and say "
                             'what its workers lack')
    _add_json(doctor)
    completion = _add(commands, 'completion', 'print a script with which a shell completes the arguments of polyvit')
    completion.add_argument('shell', metavar='SHELL', choices=('bash', 'zsh', 'tcsh'), help='bash, zsh or tcsh')


def age(text: str) -> float:
    """The seconds of '12h', '7d' or '4w'."""
    match = re.fullmatch(r'(\d+)([hdw])', text)
    if not match:
        raise ValueError
    return float(match[1]) * {'h': 3600, 'd': 24 * 3600, 'w': 7 * 24 * 3600}[match[2]]
