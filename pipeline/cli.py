"""The command `polyvit`: parses its arguments and calls what does the work. Imports heavy modules only when needed."""

import argparse
import os
import pathlib
import sys

from model_code.errors import ConfigError, PipelineStop
from model_code.urls import is_url
from pipeline import __version__, environment
from pipeline.exit_codes import DONE, FAILED, WRONG

DESCRIPTION = 'Train one PolyViT on folders of images, videos and sounds, check it, push it, serve it.'
EPILOG = '''CONFIG is a name (demo, real_small, nine) or the path of a Python file with get_config().

exit codes:
  0  done
  1  failed
  2  the arguments, the config or its data are wrong; nothing was started
  3  the gate rejected the model; nothing was pushed'''

# SUPPRESS, because otherwise the subcommand's default would undo a --debug before the command.
_COMMON = argparse.ArgumentParser(add_help=False)
_COMMON.add_argument('--debug', action='store_true', default=argparse.SUPPRESS, help='print tracebacks')


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('polyvit', description=DESCRIPTION, epilog=EPILOG, parents=[_COMMON],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--version', action='version', version=f'polyvit {__version__}')
    commands = parser.add_subparsers(title='commands', dest='command', required=True, metavar='COMMAND')
    demo = _add(commands, 'demo', _demo, 'make the demo media, run the pipeline, serve and query the model')
    demo.add_argument('--root', metavar='DIR', default='runs/demo',
                      help='the folder for everything that it writes (default: %(default)s)')
    _add_data_commands(commands)
    _add_config_commands(commands)
    _add_model_commands(commands)
    return parser


def _add(commands, name: str, function, help: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help, description=f'{help[0].upper()}{help[1:]}.', parents=[_COMMON])
    command.set_defaults(function=function)
    return command


def _add_config(command):
    command.add_argument('config', metavar='CONFIG', help="a config's name, or the path of its file")
    command.add_argument('--data', metavar='DIR', help="the folder of the config's data (default: $POLYVIT_DATA)")


def _add_json(command):
    command.add_argument('--json', action='store_true', help='print JSON')


def _add_data_commands(commands):
    data = commands.add_parser('data', help='make the demo media, or check your own',
                               description='Make the demo media, or check your own.')
    data_commands = data.add_subparsers(title='commands', dest='data_command', required=True, metavar='COMMAND')
    make = _add(data_commands, 'demo', _data_demo, 'make the demo media: three modalities, no download')
    make.add_argument('dir', metavar='DIR', help='the folder to make them in')
    check = _add(data_commands, 'check', _data_check,
                 'read every file as a run would; print what is rejected, duplicates, and leaks between splits')
    _add_config(check)
    _add_json(check)


def _add_config_commands(commands):
    plan = _add(commands, 'plan', _plan, 'print what a config costs: parameters, FLOPs, storage, hours')
    _add_config(plan)
    _add_json(plan)
    plan.add_argument('--flops', type=float, metavar='N', help='peak FLOP/s of one accelerator (default: 312e12)')
    plan.add_argument('--utilisation', type=float, metavar='N',
                      help='the share of the peak that training reaches (default: 0.35)')
    plan.add_argument('--accelerators', type=int, metavar='N', help='how many train together (default: 1)')

    run = _add(commands, 'run', _run, 'run the pipeline on this machine')
    _add_config(run)
    run.add_argument('--root', metavar='DIR',
                     help="the folder for everything that it writes (default: runs/ and the config's name)")

    compile_ = _add(commands, 'compile', _compile, 'compile the pipeline for Kubeflow Pipelines v2')
    _add_config(compile_)
    compile_.add_argument('-o', '--output', metavar='FILE', required=True,
                          help='the file to write; ends in .yaml, .yml or .json')
    compile_.add_argument('--root', metavar='URI',
                          help='the folder for everything that a run writes, such as gs://bucket/polyvit')
    compile_.add_argument('--image', metavar='IMAGE', help='the container image, built from kubeflow/Dockerfile')


def _add_model_commands(commands):
    report = _add(commands, 'report', _report, "print the newest run's table and the path of its HTML report")
    report.add_argument('--root', metavar='DIR', help='the root of the run (default: the newest under runs/)')

    serve = _add(commands, 'serve', _serve, 'serve models over REST and gRPC, as TensorFlow Serving does')
    serve.add_argument('dir', metavar='DIR', nargs='?', help='the folder of the version directories')
    serve.add_argument('--model-name', metavar='NAME', default='polyvit',
                       help='the name by which clients ask for the model (default: %(default)s)')
    serve.add_argument('--model-config', metavar='FILE',
                       help="in place of DIR: several models, in a file of TensorFlow Serving's format")
    serve.add_argument('--host', default='127.0.0.1', help='the address to listen on (default: %(default)s)')
    serve.add_argument('--port', type=int, default=8501, help='for REST; 0 takes a free one (default: %(default)s)')
    serve.add_argument('--grpc-port', metavar='PORT', type=int, default=8500,
                       help='for gRPC; 0 takes a free one (default: %(default)s)')

    predict = _add(commands, 'predict', _predict, 'print the labels and scores of files')
    predict.add_argument('task', metavar='TASK', help="the task's name")
    predict.add_argument('files', metavar='FILE', nargs='+', help='an image, a video or a sound')
    server_or_model = predict.add_mutually_exclusive_group()
    server_or_model.add_argument('--url', help='the server to ask (default: http://127.0.0.1:8501)')
    server_or_model.add_argument('--model', metavar='DIR',
                                 help='in place of a server: a version directory, or the folder of them')
    predict.add_argument('--model-name', metavar='NAME', default='polyvit',
                         help="the model's name on the server (default: %(default)s)")
    predict.add_argument('--top', metavar='K', type=int, default=5,
                         help='how many labels to print of each file (default: %(default)s)')
    _add_json(predict)


def main(arguments=None) -> int:
    """Runs one command and returns its exit code. Errors are printed as sentences, with --debug also as tracebacks."""
    parsed = build_parser().parse_args(arguments)
    debug = getattr(parsed, 'debug', False)
    parsed.debug = debug
    environment.set_defaults()
    # Keep TensorFlow's C++ log lines off the screen. Those it calls errors at start-up are about GPU libraries; real
    # errors are raised as exceptions. A run sends these lines to its log instead.
    if parsed.function not in (_run, _demo):
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    try:
        return parsed.function(parsed) or DONE
    except ConfigError as error:
        return _say(error, WRONG, debug)
    except KeyboardInterrupt:
        print('Stopped. What had finished is kept. To go on, run the same command again.', file=sys.stderr, flush=True)
        # Beam's worker threads do not notice the interrupt, and the process would wait for them.
        os._exit(130)
    except BrokenPipeError:
        os._exit(FAILED)
    except PipelineStop as error:
        return _say(error, FAILED, debug)
    except Exception as error:
        return _say(f'{type(error).__name__}: {error}. (--debug prints the traceback.)', FAILED, debug)


def _say(error, code: int, debug: bool) -> int:
    if debug:
        import traceback
        traceback.print_exc()
    print(f'polyvit: {error}', file=sys.stderr)
    return code


def _load(parsed):
    """The config, with --data and --root applied."""
    import dataclasses

    from pipeline.config import load_config
    if getattr(parsed, 'data', None):
        # A config is code. It reads these variables when it is loaded, so they are how --data reaches it.
        folder = str(pathlib.Path(parsed.data).absolute())
        os.environ['POLYVIT_DATA'] = folder
        os.environ['POLYVIT_DEMO_DATA'] = folder
    config = load_config(parsed.config)
    if getattr(parsed, 'root', None) and not is_url(parsed.root):
        config = dataclasses.replace(config, root=str(pathlib.Path(parsed.root).absolute()))
    return config


def _run(parsed) -> int:
    config = _load(parsed)
    from pipeline import local_runner
    return local_runner.run(config, debug=parsed.debug)


def _demo(parsed) -> int:
    from pipeline import demo
    return demo.run(pathlib.Path(parsed.root), debug=parsed.debug)


def _data_demo(parsed):
    from pipeline import demo_data
    print(f'{parsed.dir}: {demo_data.describe(demo_data.make_demo_data(parsed.dir))}')


def _data_check(parsed) -> int:
    import json
    config = _load(parsed)
    from pipeline import data_check
    result = data_check.check_config(config, progress=data_check.ProgressLine())
    print(json.dumps(result, indent=1) if parsed.json else data_check.render(result))
    return DONE if result['ok'] else FAILED


def _plan(parsed):
    import dataclasses
    import json
    config = _load(parsed)
    from pipeline import checks, plan
    assumed = {'flops': parsed.flops, 'utilisation': parsed.utilisation, 'count': parsed.accelerators}
    accelerators = plan.Accelerators(**{name: value for name, value in assumed.items() if value is not None})
    data = checks.check_without_data(config)
    made = plan.make_plan(config, data, checks.media_bytes(config), accelerators)
    print(json.dumps(dataclasses.asdict(made), indent=1) if parsed.json else plan.render(made))


def _compile(parsed):
    config = _load(parsed)
    from model_code import words
    from pipeline import checks
    data = checks.check_without_data(config)
    from pipeline import kubeflow_compiler
    path = kubeflow_compiler.compile_pipeline(config, data, parsed.output, root=parsed.root, image=parsed.image)
    print(f'Wrote {path}: the pipeline of {config.name}, {words.count(len(config.mixture.tasks), "lane")}.')
    out_of_reach = [task.name for task in config.mixture.tasks if task.name not in data.counts]
    if out_of_reach:
        print(f'The data of {", ".join(out_of_reach)} are out of reach from here, so the compiled pipeline lacks the '
              'classes and fingerprints that are listed from them. docs/operations.md says what that means.')


def _report(parsed):
    from pipeline import run_record, summary
    last = run_record.read(parsed.root)
    decision = run_record.read_decision(last['components']['BlessingGate']['outputs']['blessing'][0])
    print('\n'.join(summary.task_rows(decision)))
    print('\n' + summary.short(last['report']))


def _serve(parsed):
    from serving import server
    server.serve(parsed.dir, parsed.model_name, parsed.port, parsed.grpc_port, parsed.host, parsed.model_config)


def _predict(parsed) -> int:
    from serving import client
    return client.predict_command(parsed)


if __name__ == '__main__':
    sys.exit(main())
