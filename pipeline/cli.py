"""The command `polyvit`: calls what does the work, and imports heavy modules only when needed."""

import contextlib
import dataclasses
import os
import pathlib
import sys

from model_code import file_io, isolated, shell
from model_code.errors import ConfigError, PipelineStop
from model_code.printable import printable
from pipeline import arguments, ending, environment, layout, printed
from pipeline.exit_codes import DONE, FAILED, INTERRUPTED, WRONG


def main(words=None) -> int:
    """Runs one command and returns its exit code. Errors are printed as sentences, with --debug also as tracebacks.

    words: the command line after `polyvit`, by default that of this process.
    """
    if words is None:
        environment.use_utf8()
        words = sys.argv[1:]
        isolated.leave_current_folder()
        printed.protect()
    try:
        parsed = arguments.build_parser().parse_args(words)
    except ConfigError as error:
        return _say(error, WRONG, debug=False)
    if parsed.version:
        from pipeline import stack
        print(stack.version_text())
        return DONE
    if parsed.command not in COMMANDS:
        print('\n'.join(parsed.group.short_help(layout.columns(sys.stderr))), file=sys.stderr)
        return WRONG
    parsed.argv = tuple(words)
    debug = getattr(parsed, 'debug', False)
    parsed.debug = debug
    environment.set_defaults()
    # Keep TensorFlow's C++ log lines off the screen. Those it calls errors at start-up are about GPU libraries; real
    # errors are raised as exceptions. A run sends these lines to its log instead.
    if parsed.command not in ('run', 'demo'):
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    try:
        # A server ends by signals, and has handlers of its own.
        with contextlib.nullcontext() if parsed.command == 'serve' else ending.in_time(parsed.argv):
            code = COMMANDS[parsed.command](parsed) or DONE
            sys.stdout.flush()  # what cannot be written is an error here, not after the end
            return code
    except ConfigError as error:
        return _say(error, WRONG, debug)
    except KeyboardInterrupt:  # a server that has no handlers yet
        return INTERRUPTED
    except BrokenPipeError:
        os._exit(FAILED)
    except PipelineStop as error:
        return _say(error, FAILED, debug)
    except OSError as error:
        printed.end()
        return _say(file_io.failure(error) or _unexpected(error), FAILED, debug)
    except Exception as error:
        return _say(_unexpected(error), FAILED, debug)


def _unexpected(error: Exception) -> str:
    return f'{type(error).__name__}: {error}. (--debug prints the traceback.)'


def _say(error, code: int, debug: bool) -> int:
    if debug:
        import traceback
        traceback.print_exc()
    columns = layout.columns(sys.stderr)
    for line in printable(f'polyvit: {error}').splitlines():
        print('\n'.join(layout.wrap(line, columns)), file=sys.stderr)
    return code


def _load(parsed, root: str | None = None):
    """The config, with --data and --set applied, and a root if one is given."""
    from pipeline import overrides
    return overrides.load(parsed.config, parsed.data or '', parsed.set, root or '')


def _run(parsed) -> int:
    if parsed.force is not None:
        from components.blessing_gate import forcing
        forcing.check_reason(parsed.force, '--force')
    config, force = _load(parsed, parsed.root).with_data(), (parsed.force or '').strip()
    if parsed.dry_run:
        from pipeline import dry_run
        return dry_run.run(config, force)
    from pipeline import elapsed, local_runner
    return local_runner.run(config, debug=parsed.debug, argv=parsed.argv, verbose=parsed.verbose,
                            started=elapsed.process_start(), force=force)


def _demo(parsed) -> int:
    from pipeline import demo
    return demo.run(pathlib.Path(parsed.root), debug=parsed.debug, argv=parsed.argv)


def _init(parsed):
    from pipeline.init import command
    print('\n'.join(command.run(parsed.dir, parsed.output, parsed.force)))


def _data_demo(parsed):
    from pipeline import demo_data
    print(f'{parsed.dir}: {demo_data.describe(demo_data.make_demo_data(parsed.dir))}')


def _data_check(parsed) -> int:
    import json
    config = _load(parsed).with_data()
    from pipeline import data_check, layout
    result = data_check.check_config(config, progress=data_check.ProgressLine())
    print(json.dumps(result, indent=1) if parsed.json else data_check.render(result, layout.columns()))
    return DONE if result['ok'] else FAILED


def _data_scenes(parsed):
    config = _load(parsed).with_data()
    from pipeline import data_check, data_scenes
    print(data_scenes.write_scenes(config, parsed.task, parsed.output, data_check.ProgressLine()))


def _data_show(parsed):
    config = _load(parsed).with_data()
    from pipeline import data_check, data_show
    print(shell.short(data_show.show(config, parsed.output, data_check.ProgressLine())))


def _data_export(parsed):
    if not parsed.croissant:
        raise ConfigError('The format must be given: --croissant.')
    config = _load(parsed).with_data()
    from pipeline import croissant
    about = {'license': parsed.license, 'url': parsed.url, 'creator': parsed.creator}
    print('\n'.join(croissant.export(config, parsed.output, about)))


def _plan(parsed):
    import dataclasses
    import json
    config = _load(parsed).with_data()
    from pipeline import checks, layout, machine, plan, summary
    from pipeline.study import SEEDS, arms
    assumed = {'flops': parsed.flops, 'utilisation': parsed.utilisation, 'count': parsed.accelerators}
    accelerators = plan.Accelerators(**{name: value for name, value in assumed.items() if value is not None})
    checks.check_plannable(config)
    data = checks.check_without_data(config)
    here = machine.this_machine(parsed.measure)
    made = plan.make_plan(config, data, checks.media_bytes(config), accelerators, here)
    price = arms.price(config, SEEDS, data, here)
    if parsed.json:
        print(json.dumps(dataclasses.asdict(made) | {'study': price}, indent=1))
        return
    given = [*(['--data', parsed.data] if parsed.data else []),
             *(word for setting in parsed.set for word in ('--set', setting))]
    command = summary.command('study', parsed.config, *given)
    print(plan.render(made, layout.columns(), (command, price) if price else None))


def _compile(parsed):
    config = _load(parsed)
    from model_code import words
    from pipeline import terminal
    from pipeline.kubeflow import compiler
    with terminal.working(f'Compiling the pipeline of {config.name} ...'):
        path = compiler.compile_pipeline(config, parsed.output, root=parsed.root, image=parsed.image,
                                         target=parsed.target, fail_if_rejected=parsed.fail_if_rejected)
    print(f'Wrote {path}: the pipeline of {config.name}, {words.count(len(config.mixture.tasks), "lane")}.')


def _submit(parsed) -> int:
    from pipeline.kubeflow import submit
    service = {'target': parsed.target, 'host': parsed.host, 'namespace': parsed.namespace}
    if parsed.follow is not None:
        _check_follow(parsed)
        return submit.follow(parsed.follow, **service)
    missing = [name for name in ('config', 'root', 'image') if not getattr(parsed, name)]
    if missing:
        names = ' and '.join('CONFIG' if name == 'config' else f'--{name}' for name in missing)
        raise ConfigError(f'{names} must be given, or --follow RUN. `polyvit submit --help` explains its arguments.')
    return submit.run(_load(parsed), root=parsed.root, image=parsed.image, experiment=parsed.experiment,
                      parameters=parsed.parameter, recurring=parsed.recurring, wait=not parsed.no_follow, **service)


def _check_follow(parsed):
    if not parsed.follow:
        raise ConfigError('--follow is empty; it must be the id of a run.')
    given = ['CONFIG'] * bool(parsed.config) + [
        f'--{name}' for name in ('root', 'image', 'data', 'set', 'experiment', 'parameter') if getattr(parsed, name)]
    if given:
        raise ConfigError(f'--follow {parsed.follow} follows a run that was started before, so it takes no '
                          f'{" and no ".join(given)}. Leave that out, or leave out --follow to start another run.')


def _report(parsed) -> int:
    import dataclasses
    import json

    from pipeline import layout, roots, run_record, show_run
    if parsed.compare:
        return _compare(parsed)
    if parsed.output:
        raise ConfigError('--output is the page of --compare. Give --compare A B, or leave it out.')
    last = run_record.read(parsed.root)
    if not parsed.json and last.report and roots.study_pages(last.root):
        from pipeline.study import in_report
        last = dataclasses.replace(last, report=in_report.write(last))
    print(json.dumps(dataclasses.asdict(last), indent=1) if parsed.json else
          '\n'.join([*show_run.lines(last, layout.columns()), *show_run.later_lines(last)]))
    return (last.exit_code or DONE) if parsed.check else DONE


def _compare(parsed) -> int:
    import pathlib

    from pipeline import compared_runs
    if parsed.json or parsed.check:
        given = 'json' if parsed.json else 'check'
        raise ConfigError(f'--compare writes a page and takes no --{given}. Leave that out.')
    path = compared_runs.write(parsed.compare, parsed.root, parsed.output)
    print(f'{path} compares both runs. Open it in a browser: {pathlib.Path(path).absolute().as_uri()}')
    return DONE


def _serve(parsed):
    from pipeline import summary
    from serving import batching_settings, foreground
    from serving.limits import Limits
    limits = Limits(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(Limits)})
    batching = (None if parsed.no_batching else batching_settings.read_settings(parsed.batching_parameters_file)
                if parsed.batching_parameters_file else batching_settings.Settings())
    foreground.serve(parsed.dir, parsed.model_name, parsed.port, parsed.grpc_port, parsed.host, parsed.model_config,
                     summary.command(), _samples(parsed.dir), parsed.cors, limits, parsed.access_log, batching,
                     parsed.require_signature, not parsed.no_page)


def _sync(parsed):
    import threading

    from serving import signed_versions, sync
    if parsed.every is not None and not parsed.every > 0:
        raise ConfigError(f'--every is {parsed.every:g}; it must be more than 0 seconds.')
    keys = signed_versions.read_public_keys(parsed.require_signature) if parsed.require_signature else None
    mirror = sync.Mirror(parsed.url, parsed.dir, _print_now, keys)
    found = mirror.update()
    if parsed.every is None and not found:
        raise PipelineStop(f'There is no whole version in {parsed.url}, so {parsed.dir} has none. Give the folder of '
                           'version directories that a run pushes to; --every SECONDS waits for one.')
    if parsed.every is not None:
        if not found:
            _print_now(f'There is no whole version in {parsed.url} yet. Looking for one every {parsed.every:g} '
                       'seconds.')
        sync.keep_up(mirror, parsed.every, threading.Event(), _print_now)


def _print_now(text: str):
    print(text, flush=True)


def _samples(serving_dir: str | None) -> dict[str, str]:
    """Task -> one of its media files that is still there, from the record of the run that pushed to this folder."""
    from pipeline import run_record
    try:
        samples = run_record.read(os.path.join(serving_dir, '..', '..')).samples if serving_dir else {}
    except ConfigError:
        return {}
    return {task: shell.short(path) for task, path in samples.items() if os.path.isfile(path)}


def _predict(parsed) -> int:
    from pipeline import prediction
    return prediction.run(parsed)


def _probe(parsed):
    config = _load(parsed, parsed.root).with_data()
    from pipeline import probe
    probe.run(config, parsed.model or '', parsed.task, parsed.json)


def _study(parsed):
    config = _load(parsed, parsed.root).with_data()
    from pipeline.study import command
    command.run(config, parsed.seeds, parsed.json, parsed.dry_run, parsed.argv, tuple(parsed.change))


def _export(parsed):
    from pipeline import lite_export
    print('\n'.join(lite_export.run(parsed.dir, parsed.output)))


def _card(parsed):
    import json

    from pipeline import model_card
    print(json.dumps(model_card.content(parsed.dir, parsed.cyclonedx), indent=1))


def _runs(parsed):
    import json

    from pipeline import layout, runs_table
    found = runs_table.runs(parsed.root)
    print(json.dumps([runs_table.as_json(record) for record in found], indent=1) if parsed.json else
          '\n'.join(runs_table.lines(found, layout.columns())))


def _runs_show(parsed):
    import dataclasses
    import json

    from pipeline import layout, runs_table
    record = runs_table.find(parsed.root, parsed.run)
    print(json.dumps(dataclasses.asdict(record), indent=1) if parsed.json else
          '\n'.join(runs_table.show(record, layout.columns())))


def _clean(parsed):
    from pipeline import clean
    clean.command(parsed.root, parsed.keep, parsed.older_than, parsed.dry_run, parsed.yes)


def _doctor(parsed) -> int:
    from pipeline import doctor
    if parsed.beam:
        ok = doctor.report(doctor.beam_checks(parsed.beam), parsed.json, doctor.BEAM_SECONDS)
    else:
        ok = doctor.report(doctor.checks(parsed.root), parsed.json)
    return DONE if ok else FAILED


def _completion(parsed):
    from pipeline import completion
    print(completion.script(arguments.build_parser(), parsed.shell))


COMMANDS = {
    'demo': _demo,
    'init': _init,
    'data demo': _data_demo,
    'data check': _data_check,
    'data scenes': _data_scenes,
    'data show': _data_show,
    'data export': _data_export,
    'plan': _plan,
    'run': _run,
    'compile': _compile,
    'submit': _submit,
    'report': _report,
    'serve': _serve,
    'sync': _sync,
    'predict': _predict,
    'probe': _probe,
    'study': _study,
    'export': _export,
    'card': _card,
    'runs': _runs,
    'runs show': _runs_show,
    'clean': _clean,
    'doctor': _doctor,
    'completion': _completion,
}

if __name__ == '__main__':
    sys.exit(main())
