"""`polyvit`: reads the command line, calls what does the work. Nothing heavy is imported before a command needs it."""

import argparse
import os
import pathlib
import sys

from model_code.errors import ConfigError, PipelineStop
from model_code.urls import is_url
from pipeline import __version__, environment
from pipeline.exit_codes import DONE, FAILED, WRONG

DESCRIPTION = 'Folders of images, videos and sounds in, one checked and served PolyViT out.'
EPILOG = '''CONFIG is a name (demo, real_small, nine) or the path of a Python file with get_config().
Exit codes: 0 done; 1 failed; 2 arguments or config are wrong, nothing was started; 3 the gate refused the model.'''


def build_parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    # SUPPRESS, so that a subcommand's default does not undo a --debug before the command.
    common.add_argument('--debug', action='store_true', default=argparse.SUPPRESS, help='show tracebacks')
    parser = argparse.ArgumentParser('polyvit', description=DESCRIPTION, epilog=EPILOG, parents=[common],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--version', action='version', version=f'polyvit {__version__}')
    commands = parser.add_subparsers(title='commands', dest='command', required=True, metavar='COMMAND')

    def add(parent, name, function, help):
        command = parent.add_parser(name, help=help, description=help, parents=[common])
        command.set_defaults(function=function)
        return command

    def add_config(command):
        command.add_argument('config', metavar='CONFIG', help='a config by name or path')
        command.add_argument('--data', metavar='DIR', help="the folder of the config's data (else $POLYVIT_DATA)")

    demo = add(commands, 'demo', _demo, 'make the demo media, run the pipeline, serve the model, predict')
    demo.add_argument('--root', metavar='DIR', default='runs/demo', help='where all of it goes (runs/demo)')

    data = commands.add_parser('data', help='make or check media', description='Make or check media.')
    data_commands = data.add_subparsers(title='commands', dest='data_command', required=True, metavar='COMMAND')
    make = add(data_commands, 'demo', _data_demo, 'make the demo media (three modalities, no download)')
    make.add_argument('dir', metavar='DIR')
    check = add(data_commands, 'check', _data_check,
                'read every file; print what would be rejected, duplicates, leaks between splits')
    add_config(check)
    check.add_argument('--json', action='store_true', help='machine-readable')

    plan = add(commands, 'plan', _plan, 'tokens, parameters, FLOPs, steps, storage, hours of a config')
    add_config(plan)
    plan.add_argument('--json', action='store_true', help='machine-readable')
    plan.add_argument('--flops', type=float, metavar='N', help='peak FLOP/s of an accelerator, for the hours (312e12)')
    plan.add_argument('--utilisation', type=float, metavar='N', help='the share of it that training reaches (0.35)')
    plan.add_argument('--accelerators', type=int, metavar='N', help='how many train together (1)')

    run = add(commands, 'run', _run, 'run the pipeline on this machine')
    add_config(run)
    run.add_argument('--root', metavar='DIR', help='where all of it goes (runs/CONFIG)')

    compile_ = add(commands, 'compile', _compile, 'write the Kubeflow pipeline')
    add_config(compile_)
    compile_.add_argument('-o', '--output', metavar='FILE', required=True, help='.yaml, .yml or .json')
    compile_.add_argument('--root', metavar='URI', help="the pipeline's root, such as gs://bucket/polyvit")
    compile_.add_argument('--image', metavar='IMAGE', help='the container image made from kubeflow/Dockerfile')

    report = add(commands, 'report', _report, "the newest run's report and table")
    report.add_argument('--root', metavar='DIR', help='the root of the run (else the newest under runs/)')

    serve = add(commands, 'serve', _serve, "serve a folder of versions by TensorFlow Serving's REST and gRPC")
    serve.add_argument('dir', metavar='DIR', nargs='?', help='holds the version directories')
    serve.add_argument('--model-name', default='polyvit')
    serve.add_argument('--model-config', metavar='FILE', help="several models, a file as TensorFlow Serving's")
    serve.add_argument('--host', default='127.0.0.1')
    serve.add_argument('--port', type=int, default=8501)
    serve.add_argument('--grpc-port', type=int, default=8500)

    predict = add(commands, 'predict', _predict, 'labels and scores of files, from a server or a model directory')
    predict.add_argument('task', metavar='TASK')
    predict.add_argument('files', metavar='FILE', nargs='+')
    where = predict.add_mutually_exclusive_group()
    where.add_argument('--url', help='the server (http://127.0.0.1:8501)')
    where.add_argument('--model', metavar='DIR', help='a version directory, or a folder of them')
    predict.add_argument('--model-name', default='polyvit', help='its name on the server')
    predict.add_argument('--top', metavar='K', type=int, default=5)
    predict.add_argument('--json', action='store_true', help='machine-readable')
    return parser


def main(arguments=None) -> int:
    """Runs one command; returns its exit code. People get sentences, tracebacks only with --debug."""
    parsed = build_parser().parse_args(arguments)
    debug = getattr(parsed, 'debug', False)
    parsed.debug = debug
    environment.set_defaults()
    # No C++ chatter on a person's screen (its "errors" at start are about GPU libraries; real ones come as exceptions).
    # A run sends it to its log instead.
    if parsed.function not in (_run, _demo):
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    try:
        return parsed.function(parsed) or DONE
    except ConfigError as error:
        return _say(error, WRONG, debug)
    except KeyboardInterrupt:
        print('Stopped. What finished is kept; run the same command to go on.', file=sys.stderr, flush=True)
        # Beam's worker threads do not hear of the interrupt, and would keep the process for as long as they work.
        os._exit(130)
    except BrokenPipeError:
        os._exit(FAILED)
    except PipelineStop as error:
        return _say(error, FAILED, debug)
    except Exception as error:
        return _say(f'{type(error).__name__}: {error}. (--debug shows where.)', FAILED, debug)


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
        # A config is code and may read these when it is loaded: the environment is how --data reaches it.
        folder = str(pathlib.Path(parsed.data).absolute())
        os.environ['POLYVIT_DATA'] = folder
        os.environ['POLYVIT_DEMO_DATA'] = folder
    try:
        config = load_config(parsed.config)
    except ConfigError:
        raise
    except Exception as error:  # a config is a person's code: whatever it raises
        raise ConfigError(f'The config {parsed.config} cannot be loaded: {type(error).__name__}: {error}.') from error
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
    counts = demo_data.make_demo_data(parsed.dir)
    print(f'{parsed.dir}: ' + ', '.join(f'{name} {count} files' for name, count in counts.items()))


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
    facts = checks.check_without_data(config)
    made = plan.make_plan(config, facts, checks.media_bytes(config), accelerators)
    print(json.dumps(dataclasses.asdict(made), indent=1) if parsed.json else plan.render(made))


def _compile(parsed):
    config = _load(parsed)
    from pipeline import checks
    facts = checks.check_without_data(config)
    from pipeline import kubeflow_compiler
    path = kubeflow_compiler.compile_pipeline(config, facts, parsed.output, root=parsed.root, image=parsed.image)
    print(f'{path}: the pipeline of {config.name}, {len(config.mixture.tasks)} lanes.')
    without = [t.name for t in config.mixture.tasks if t.name not in facts.counts]
    if without:
        print(f'The data of {", ".join(without)} are not in reach here: their classes and fingerprints are not in it '
              f'(docs/operations.md says what that means).')


def _report(parsed):
    import json

    from pipeline import run_record, summary
    last = run_record.read(parsed.root)
    decision = json.loads(pathlib.Path(last['components']['BlessingGate']['outputs']['blessing'][0],
                                       'decision.json').read_text())
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
