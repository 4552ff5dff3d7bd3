"""Which tasks a folder seems to hold: candidates by names and manifests, of which those stay that can be listed."""

import collections
import contextlib
import dataclasses
import itertools
import os
import re
import time
import unicodedata

from media import listing
from media.entries import TEXT, Entry, Listing
from media.findings import Findings
from media.listing import hugging_face, manifests, tars
from media.listing.collector import SPLITS, Collector
from media.rejections import Rejection
from media.sandbox.tables import TableReader
from model_code import words
from model_code.data import MODALITIES_OF, OPTIONAL_MANIFEST, Data, Format, Source
from model_code.errors import ConfigError
from model_code.modalities import MODALITIES, get_modality
from pipeline.init import tables
from pipeline.init.look import Folder, Look, join, modalities

# Of a task's files, the share that another modality must have to be a task of its own.
_OTHER_SHARE = 0.05
_MAX_DEPTH = 4  # folders below the first in which data sets are looked for
_MAX_TASKS = 20  # a model of more is hardly what is meant, and each takes its time
_SECONDS = 60.0  # to find them: what is left then is named
_NAMED_LEFT = 10  # of the folders that were not looked into
_MAX_TABLES = 60  # manifests that are read
_MAX_TABLE_BYTES = 256 << 20  # of a manifest whose rows are all listed
_IN_ROWS = {row.name for row in MODALITIES.values() if row.in_rows}  # modalities whose media a table may hold
_TAR_MEMBERS = 1_000  # whose names are read
_SYNSET = re.compile(r'n\d{8}')
_ARCHIVES = ('.zip', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz', '.7z', '.rar', '.gz')


@dataclasses.dataclass
class Guess:
    """A task that the folder seems to hold.

    place: its folder, relative to the first one. evidence: sentences that say what the guess is by. unsure: what may
    well be wrong. listed: all its media, or None if they are too many to be listed now; then `some` has a few, and
    `seen` how many there are at least, split -> number. found_by: what says the labels, in words; '' where `data` does.
    """
    name: str
    modality: str
    data: Data
    place: str
    evidence: list[str]
    unsure: list[str] = dataclasses.field(default_factory=list)
    listed: Listing | None = None
    some: list[Entry] = dataclasses.field(default_factory=list)
    seen: dict[str, int] = dataclasses.field(default_factory=dict)
    found_by: str = ''
    classes: tuple[str, ...] = ()

    @property
    def source(self) -> Source:
        return Source(self.name, self.modality, self.data)

    @property
    def counts(self) -> dict[str, int]:
        """Split -> number of examples."""
        return self.seen or dict(collections.Counter(entry.split for entry in self.entries))

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes; those of eval if train has none."""
        return self.classes or tuple(sorted({label for entry in self.entries for label in entry.labels}))

    @property
    def entries(self):
        return self.listed.entries if self.listed else self.some


class Guesses:
    """All guesses about what a Look has seen. problems: sentences about what was not understood."""

    def __init__(self, look: Look):
        self._look = look
        self._meaning_of: dict[str, tables.Meaning | str | None] = {}  # of the tables that were read
        self.tasks: list[Guess] = []
        self.problems: list[str] = []
        self._end, self._left = time.monotonic() + _SECONDS, []
        with TableReader(look.root) as self._reader:
            self._find('', 0)
        if self._left:
            first = ', '.join(self._left[:_NAMED_LEFT]) + (', ...' if len(self._left) > _NAMED_LEFT else '')
            self.problems.insert(0, f'Not looked into, after {words.count(len(self.tasks), "task")}: '
                                    f'{words.count(len(self._left), "folder")} with media, {first}. Call init for one '
                                    'of them.')
        self._name_tasks()

    # What a folder is.

    def _find(self, path: str, depth: int) -> bool:
        """Adds the tasks of a folder and those below it. Whether there is one."""
        folder = self._look.folders.get(path)
        if folder is None:
            return False
        if len(self.tasks) >= _MAX_TASKS or time.monotonic() > self._end:
            if modalities(self._look.endings(path)):
                self._left.append(self._shown(path))
            return False
        before = len(self.tasks)
        found = self._find_media(folder, depth)
        return self._left_tables(folder, before) or found

    def _find_media(self, folder: Folder, depth: int) -> bool:
        """As _find, but for tables that other media in the folder make doubtful."""
        path, before = folder.path, len(self.tasks)
        found = (self._published(folder) or self._described(folder) or self._hugging_face(folder)
                 or self._manifests(folder) or self._archives(folder)
                 or not self._any_below(folder) and self._class_folders(folder))
        if found:
            self.problems += [f'{join(path, name)}: it was written by `polyvit data export`, and what it was made of '
                              'is used instead.' for name in _exported(folder)]
            return True
        if _exported(folder) and self._described(folder, _exported(folder)):
            return True
        if self._only_class(folder):
            self._say_what_is_missing(folder)
            return False
        if depth < _MAX_DEPTH:
            for name in folder.folders:
                self._find(join(path, name), depth + 1)
        joined = self._check_siblings(self.tasks[before:], path)
        if len(self.tasks) == before and not joined and not self._class_folders(folder):
            self._say_what_is_missing(folder)
        return len(self.tasks) > before

    def _any_below(self, folder: Folder) -> bool:
        """Whether a folder below this one has a manifest or archives of its own."""
        for below in itertools.islice(self._look.below(folder.path), 1, None):
            if any(name.lower().endswith('.tar') for name in below.others) or self._meanings(below, folder):
                return True
        return False

    def _add(self, place: str, modality: str, data: Data, evidence: list[str], unsure: list[str] = [],  # noqa: B006
             some: list[Entry] = []) -> bool:  # noqa: B006
        """Adds a candidate if it can be listed. Whether it was. some: a few entries, if all are too many."""
        guess = Guess('task', modality, data, place, list(evidence), list(unsure), some=list(some))
        try:
            if some:
                guess.classes = tuple(sorted({label for entry in some for label in entry.labels}))
            else:
                guess.listed = listing.list_media(guess.source)
                if len(guess.listed.rejected) > len(guess.listed.entries):
                    first = guess.listed.rejected[0]
                    raise ConfigError(f'{words.count(len(guess.listed.rejected), "file or row", "files or rows")} '
                                      f'cannot be used, such as {first.path}: {first.detail}')
                guess.classes = data.classes or tuple(sorted(listing.train_labels(guess.listed)))
        except ConfigError as error:
            text = str(error).removeprefix('Task task: ')
            self.problems.append(f'{self._shown(place)}: {text}')
            return False
        self.tasks.append(guess)
        return True

    def _shown(self, place: str) -> str:
        return place or os.path.basename(self._look.root.rstrip('/')) or '/'

    def _path(self, place: str) -> str:
        return os.path.join(self._look.root, place) if place else self._look.root

    # Published data sets, by the names of their files.

    def _published(self, folder: Folder) -> bool:
        files = {*folder.others, *folder.names}
        for name in folder.folders:
            below = self._look.folders.get(join(folder.path, name))
            files |= {f'{name}/{other}' for other in (*below.others, *below.names)} if below else set()
        found = _published_format(files, self._synsets(folder))
        if not found:
            return False
        form, named, kind = found
        endings = self._look.endings(folder.path)
        fitting = [name for name in modalities(endings) if name in MODALITIES_OF[form]] or list(MODALITIES_OF[form][:1])
        count = len(self.problems)
        added = self._add(folder.path, fitting[0], Data(self._path(folder.path), tuple(named), form,
                                                        label_kind=kind),
                          [f'The files are named as those of the published data set {form}.'])
        if not added:
            del self.problems[count:]  # only the names are alike
        return added

    def _synsets(self, folder: Folder) -> bool:
        below = list(itertools.islice(self._look.below(folder.path), 3_000))
        named = sum(bool(_SYNSET.fullmatch(f.path.rpartition('/')[2])) for f in below)
        return named > 1 and named > len(below) / 2

    # Folders that say themselves what they are.

    def _described(self, folder: Folder, exported: tuple[str, ...] = ()) -> bool:
        """Adds the task of each Croissant file in a folder, or of the tables with media in them that are beside others.

        exported: the files to look at instead, of those that polyvit has written itself.
        """
        found, by_modality = False, modalities(self._look.endings(folder.path))
        files = [((name,), 'is a Croissant file, which says what the media are') for name in exported
                 or sorted({*folder.others} - {*_exported(folder)})
                 if name.lower().endswith('.json') and _is_croissant(os.path.join(self._path(folder.path), name))]
        rows = tuple(name for name in _named_tables(folder, hugging_face.TABLES) if by_modality and not files
                     and self._meaning(join(folder.path, name)) is None)
        files += [(rows, 'have the columns path and label')] if rows else []
        for names, what in files:
            data, before = Data(self._path(folder.path), names), len(self.problems)
            for modality, kind in itertools.product(by_modality or MODALITIES, ('single', 'multi')):
                if self._add(folder.path, modality, dataclasses.replace(data, label_kind=kind),
                             [f'{" and ".join(join(folder.path, name) for name in names)} {what}.']):
                    del self.problems[before:]
                    found = True
                    break
            del self.problems[before + 1:]  # the first says enough
        return found

    def _hugging_face(self, folder: Folder) -> bool:
        """Adds the task of a folder that the listing reads as Hugging Face's. Whether it is one, understood or not."""
        by_modality, data = modalities(self._look.endings(folder.path)), Data(self._path(folder.path))
        if not any(name in hugging_face.METADATA or name.lower().endswith(hugging_face.TABLES)
                   for name in self._nearby(folder)):
            return False
        before = len(self.problems)
        try:
            found = hugging_face.find(Collector(Source('task', next(iter(by_modality or MODALITIES)), data)))
        except ConfigError as error:
            self.problems.append(f'{self._shown(folder.path)}: {str(error).removeprefix("Task task: ")}')
            return True
        if not found:
            return False
        first = {file.split: file.name for file in sorted(found, key=lambda file: file.name, reverse=True)}
        meanings = [self._meaning(join(folder.path, name)) for name in sorted(first.values())]
        parts = [meaning for meaning in meanings if isinstance(meaning, tables.Meaning)]
        if any(self._doubtful(part, folder) for part in parts):
            return False
        self.problems += [meaning for meaning in meanings if isinstance(meaning, str)]
        names = [join(folder.path, file.name) for file in found]
        evidence = [f'{" and ".join(names[:3])}{" and others" if len(names) > 3 else ""} say the labels, as in a '
                    'folder of Hugging Face: no setting is needed.']
        if parts and self._add_manifest(parts, folder) or any(
                self._add(folder.path, modality, dataclasses.replace(data, label_kind=kind), evidence)
                for modality in by_modality or MODALITIES for kind in ('single', 'multi')):
            del self.problems[before:]
            self.tasks[-1].found_by = 'Hugging Face'
        del self.problems[before + 1:]  # the first says enough
        return True

    def _nearby(self, folder: Folder) -> list[str]:
        """The names of files in a folder, and in those directly below it, that are no media."""
        below = (self._look.folders.get(join(folder.path, name)) for name in folder.folders)
        return [name for near in (folder, *below) if near for name in near.others]

    # Manifests.

    def _meanings(self, folder: Folder, above: Folder) -> list[tables.Meaning]:
        """The manifests in a folder that name media, or hold texts, and are not doubtful.

        above: the folder for which they are looked for.
        """
        return [found for found in self._table_meanings(folder)
                if isinstance(found, tables.Meaning) and not self._doubtful(found, above)]

    def _doubtful(self, found: tables.Meaning, above: Folder) -> bool:
        """Whether other things in a folder say better what its media are: notes beside images are texts, too."""
        return (found.only_captions and self._named_by_classes(above)
                or not found.path and bool(modalities(self._look.endings(above.path))))

    def _left_tables(self, folder: Folder, before: int) -> bool:
        """Adds the tasks of doubtful tables of texts, if the folder has no others; else names them. Whether it did.

        before: how many tasks there were before this folder was looked into.
        """
        here = [guess for guess in self.tasks[before:] if guess.place == folder.path]
        texts = []
        for found in self._table_meanings(folder):
            if not isinstance(found, tables.Meaning) or not self._doubtful(found, folder):
                continue
            if found.path:
                self.problems.append(f'{found.table.name}: the captions in its column {found.text} are not used, '
                                     'because folders are named by classes.')
            elif here:
                self.problems.append(f'{found.table.name}: the texts in its column {found.text} are not used, because '
                                     'there are other media beside it. Are they a data set? Move it to another folder.')
            else:
                texts.append(found)
        return self._add_manifests(texts)

    def _meaning(self, name: str) -> tables.Meaning | str | None:
        """What the columns of a table mean, as tables.meaning says it; None if it is not read."""
        if name not in self._meaning_of and len(self._meaning_of) < _MAX_TABLES:
            table = tables.read(self._look.root, name, self._reader)
            self._meaning_of[name] = tables.meaning(self._look.root, table) if table else None
        return self._meaning_of.get(name)

    def _table_meanings(self, folder: Folder) -> list[tables.Meaning | str]:
        meanings = [self._meaning(join(folder.path, name)) for name in _named_tables(folder, manifests.TABLES)]
        return [meaning for meaning in meanings if meaning]

    def _manifests(self, folder: Folder) -> bool:
        found = self._meanings(folder, folder)
        for name in folder.folders:  # annotations/train.csv, or train/rows.csv with paths that begin with train/
            below = self._look.folders.get(join(folder.path, name))
            if below:
                found += [guess for guess in self._meanings(below, folder) if guess.folder == folder.path]
        return self._add_manifests(found)

    def _add_manifests(self, found: list[tables.Meaning]) -> bool:
        """Adds a task for each manifest, or for several that are parts of one data set. Whether there is one."""
        groups: list[list[tables.Meaning]] = []
        for one in sorted(found, key=lambda guess: guess.table.name):
            for group in groups:
                if all(tables.parts_of_one(one, other) for other in group):
                    group.append(one)
                    break
            else:
                groups.append([one])
        return any([self._add_manifest(group) for group in groups])

    def _add_manifest(self, parts: list[tables.Meaning], own: Folder | None = None) -> bool:
        """Adds the task of a manifest, or of several that are parts of one data set.

        own: the folder whose metadata files or tables they are, which the listing finds itself.
        """
        first, place = parts[0], parts[0].folder if own is None else own.path
        endings = collections.Counter(os.path.splitext(path)[1].lower() for part in parts for path in part.paths())
        by_modality = modalities(endings) if first.path else dict.fromkeys(_IN_ROWS, 1)
        if not by_modality:
            self.problems.append(f'{first.table.name}: no file of its column {first.path} has an ending of media.')
            return False
        modality = next(iter(by_modality))
        names = tuple(os.path.relpath(part.table.name, place or '.') for part in parts)
        evidence, unsure = _about_columns(parts, get_modality(modality).timed, _names_say_split(names, own, parts))
        if len(by_modality) > 1:
            others = {name: count for name, count in by_modality.items() if name != modality}
            unsure.append(f'Its files are {_shares(by_modality)}. One task reads one modality; write a manifest for '
                          f'{" and ".join(others)}.')
        several = any(part.several for part in parts)
        fields = {}
        if first.only_captions:
            fields |= {'label_kind': 'words'}
        elif len(first.labels) > 1:
            fields |= {'label_kind': 'groups', 'label_groups': tuple(first.labels)}
        elif several:
            separator = next((part.separator for part in parts if part.separator), '')
            fields |= {'label_kind': 'multi', 'label_separator': separator or Data.label_separator}
        data = Data(self._path(place), names if own is None else (),
                    columns=first.columns(get_modality(modality).timed), **fields)
        size = sum(os.path.getsize(os.path.join(data.folder, name)) for name in names)
        some = _some_of_rows(parts) if size > _MAX_TABLE_BYTES else []
        if some:
            unsure.append(f'The manifest has {size >> 20:,} MiB: only its first rows were looked at.')
        if not self._add(place, modality, data, evidence, unsure, some):
            return False
        self._add_groups(self.tasks[-1], first)
        return True

    def _add_groups(self, guess: Guess, first: tables.Meaning):
        """Sets `groups` to a column that keeps together what belongs together; a remark if given splits tear it."""
        column = next(iter(first.groups), '')
        if not column or not guess.listed:
            return
        data = dataclasses.replace(guess.data, groups=column)
        try:
            listed = listing.list_media(Source('task', guess.modality, data))
        except ConfigError:
            return
        found = Findings()
        found.add_groups(listed.entries)
        torn, count = found.torn_groups.count, len({entry.group for entry in listed.entries})
        if torn:
            guess.unsure.append(
                f'The column {column} may say what belongs together, but {torn:,} of its {count:,} values are in both '
                f'splits. If so, groups={column!r} says it, and a run stops until no value is in both.')
        elif {entry.split for entry in listed.entries} < {entry.split for entry in guess.entries}:
            guess.unsure.append(f'The column {column} has only {words.count(count, "value")}: with groups={column!r} a '
                                'hash would leave a split empty. Choose the split by hand, in a column split.')
        else:
            guess.data, guess.listed = data, listed
            guess.classes = data.classes or tuple(sorted(listing.train_labels(listed)))
            guess.evidence.append(f'The column {column} has {words.count(count, "value")}: what has the same one stays '
                                  'in one split.')

    # Archives.

    def _archives(self, folder: Folder) -> bool:
        """Adds the task of the .tar files in a folder, or in the folders of its splits."""
        names = [join(folder.path, name) for name in folder.others if name.lower().endswith('.tar')]
        for name in folder.folders:
            below = self._look.folders.get(join(folder.path, name))
            if below and name.lower() in SPLITS:
                names += [join(below.path, other) for other in below.others if other.lower().endswith('.tar')]
        if not names:
            return False
        endings, kind = self._members(names[0])
        by_modality = modalities(endings)
        if not by_modality:
            self.problems.append(f'{names[0]}: its first {_TAR_MEMBERS:,} members are no media with labels beside '
                                 'them (0001.jpg and 0001.cls). Unpack it.')
            return False
        evidence = [f'{words.count(len(names), "archive")}, with media and labels side by side.']
        return self._add(folder.path, next(iter(by_modality)),
                         Data(self._path(folder.path), format='tar', label_kind=kind), evidence)

    def _members(self, path: str) -> tuple[collections.Counter, str]:
        """(endings of the first members, label kind)."""
        endings, kind, texts = collections.Counter(), 'single', 0
        with open(os.path.join(self._look.root, path), 'rb') as file:
            try:
                for member in itertools.islice(tars.members(file), _TAR_MEMBERS):
                    ending = os.path.splitext(member.name)[1].lower()
                    endings[ending] += 1
                    if ending == '.json' and texts < 50:
                        texts += 1
                        position = file.tell()
                        file.seek(member.offset)
                        kind = 'multi' if _has_list(file.read(min(member.size, 1 << 16))) else kind
                        file.seek(position)
            except Rejection:
                pass
        return endings, kind

    # Class folders.

    def _class_folders(self, folder: Folder) -> bool:
        """Adds a task for each modality whose files are in folders named by their classes. Whether there are such."""
        by_modality = modalities(self._look.endings(folder.path))
        total, found = sum(by_modality.values()), False
        for modality, count in by_modality.items():
            if count < _OTHER_SHARE * total:
                self.problems.append(f'{self._shown(folder.path)}: {words.count(count, "file")} of another modality, '
                                     f'{modality}, {"is" if count == 1 else "are"} left out.')
                continue
            by_class, has_splits = self._classes(folder, modality)
            if not _are_classes(by_class, has_splits):
                continue
            found = True
            evidence = [f'{words.count(len(by_class), "folder")} named by '
                        f'{"classes, below folders named by splits" if has_splits else "classes"}.']
            unsure = []
            if not has_splits:
                evidence.append('Nothing names a split, so a hash of the path puts a fifth of the files into eval.')
            if len(by_modality) > 1 and sum(c >= _OTHER_SHARE * total for c in by_modality.values()) > 1:
                unsure.append(f'The folders have {_shares(by_modality)}: each modality is a task of its own.')
            some = [] if self._look.whole else self._some_of_folders(folder, modality, has_splits)
            if some:
                unsure.append('There are too many files to list them now, so counts and classes are those of a part.')
            # Metadata that say the labels would have been taken before.
            has_metadata = not {*hugging_face.METADATA}.isdisjoint(self._nearby(folder))
            data = Data(self._path(folder.path), format='folders' if has_metadata else '')
            if self._add(folder.path, modality, data, evidence, unsure, some) and some:
                self._count_seen(self.tasks[-1], folder, sum(by_class.values()), has_splits)
        return found

    def _named_by_classes(self, folder: Folder) -> bool:
        return any(_are_classes(*self._classes(folder, modality))
                   for modality in modalities(self._look.endings(folder.path)))

    def _count_seen(self, guess: Guess, folder: Folder, count: int, has_splits: bool):
        """Sets counts and classes by the folders: the names of all are known, the files of some."""
        if has_splits:
            for name in folder.folders:
                split = SPLITS.get(name.lower())
                if split:
                    number = modalities(self._look.endings(join(folder.path, name))).get(guess.modality, 0)
                    guess.seen[split] = guess.seen.get(split, 0) + number
        else:
            guess.seen['eval'] = round(guess.data.eval_share * count)
            guess.seen['train'] = count - guess.seen['eval']
            guess.classes = tuple(folder.folders)

    def _classes(self, folder: Folder, modality: str) -> tuple[dict[str, int], bool]:
        """(class -> number of files, whether class folders are below folders of splits)."""
        counts, split_counts = collections.Counter(), collections.Counter()
        for below in self._look.below(folder.path):
            parts = below.path[len(folder.path):].strip('/').split('/')
            number = modalities(below.endings).get(modality, 0)
            if number and len(parts) == 1 and parts[0]:
                counts[parts[0]] += number
            elif number and len(parts) == 2 and parts[0].lower() in SPLITS:
                split_counts[parts[1]] += number
        return (dict(split_counts), True) if split_counts else (dict(counts), False)

    def _only_class(self, folder: Folder) -> str:
        """The folder that has all media, as if it were the only class; '' if there is none, or are several."""
        by_modality = modalities(self._look.endings(folder.path))
        if len(by_modality) == 1:
            (modality, count), = by_modality.items()
            by_class, _ = self._classes(folder, modality)
            if list(by_class.values()) == [count]:
                return next(iter(by_class))
        return ''

    def _some_of_folders(self, folder: Folder, modality: str, has_splits: bool) -> list[Entry]:
        row, some = get_modality(modality), []
        for below in self._look.below(folder.path):
            path = below.path[len(folder.path):].strip('/')
            parts = path.split('/')
            if len(parts) == 1 + has_splits and path:
                split = SPLITS.get(parts[0].lower(), 'train') if has_splits else ''
                some += [Entry(f'{path}/{name}', (parts[-1],), split or 'train') for name in below.names
                         if name.lower().endswith(row.endings + row.other_endings)]
        return some

    # What is not understood.

    def _check_siblings(self, found: list[Guess], path: str) -> bool:
        """Says so if the tasks in folders side by side may be parts of one. Whether that is sure: none stays."""
        for one, other in itertools.combinations(found[:20], 2):
            if one.place == other.place or one.modality != other.modality:
                continue
            same = {*one.classes} & {*other.classes}
            if len(same) > 0.8 * max(len(one.classes), len(other.classes)) and os.path.dirname(one.place) == path:
                names = {os.path.basename(guess.place) for guess in (one, other)}
                other.unsure.append(f'{" and ".join(sorted(names))} have the same classes. If they are splits of one '
                                    f'data set, name the folders train and eval, and make one task of {path or "all"}.')
                break
        named = [os.path.basename(guess.place) for guess in found]
        if found and all(name.lower() in SPLITS for name in named) and len({*named}) > 1:
            self.tasks = [guess for guess in self.tasks if guess not in found]
            self.problems.append(
                f'{self._shown(path)}: {" and ".join(sorted({*named}))} each have a manifest of their own. Are they '
                'splits of one data set? Join the manifests to one beside these folders, with a column split.')
            return True
        return False

    def _say_what_is_missing(self, folder: Folder):
        """A question about the files of a folder that nothing labels. Of folders below it, only the first is asked."""
        endings = self._look.endings(folder.path)
        by_modality = modalities(endings)
        where = self._shown(folder.path)
        told = [problem for problem in self.problems if problem.startswith(where)]
        tables_ = [found for found in self._table_meanings(folder) if isinstance(found, str)]
        self.problems += [text for text in tables_ if text not in self.problems]
        if by_modality and not told and not tables_:
            only = self._only_class(folder)
            if only:
                self.problems.append(
                    f'{where}: all its {_shares(by_modality)} are in one folder, {only}. Which other classes are '
                    'there? A task needs two folders, each named by its class, or a manifest with the columns path and '
                    'label.')
            elif folder.endings and modalities(folder.endings):
                self.problems.append(
                    f'{where}: {_shares(by_modality)}, but nothing says what is in them. Which labels do they have? '
                    'Put each file into a folder named by its label, or write manifest.csv beside them, with the '
                    'columns path and label.')
        packed = {name: count for name, count in folder.endings.items() if name in _ARCHIVES}
        if packed and not told:
            self.problems.append(f'{where}: {_listed(packed)} {"is" if sum(packed.values()) == 1 else "are"} packed. '
                                 'Unpack them, and call init again.')

    def _name_tasks(self):
        """Gives each task a name of its own, by its folder and, where there are several of a folder, its manifest."""
        places = collections.Counter(guess.place for guess in self.tasks)
        modalities_of = collections.defaultdict(set)
        for guess in self.tasks:
            modalities_of[guess.place].add(guess.modality)
        taken = set()
        for guess in self.tasks:
            parts = [os.path.basename(guess.place or self._look.root.rstrip('/'))]
            if places[guess.place] > 1 and guess.data.manifest:
                parts.append(os.path.splitext(os.path.basename(guess.data.manifest[0]))[0])
            elif places[guess.place] > 1 and len(modalities_of[guess.place]) > 1:
                parts.append(guess.modality)
            name = base = task_name('_'.join(parts))
            for number in itertools.count(2):
                if name not in taken:
                    break
                name = f'{base}_{number}'
            taken.add(name)
            guess.name = name


def task_name(text: str) -> str:
    """A name that a Task may have, made of any text; 'task' if it has no letter."""
    plain = unicodedata.normalize('NFKD', text).encode('ascii', 'ignore').decode().lower()
    plain = re.sub('[^a-z0-9]+', '_', plain).strip('_')[:60].strip('_')
    if not re.search('[a-z]', plain):
        return f'task_{plain}'.rstrip('_')
    # Such names would be those of other signatures of the served model.
    plain = re.sub(r'(_(scores|examples|label|embedding|all)|^model_card|^serving_default)$', r'\1s', plain)
    return plain if plain[0].isalpha() else f'task_{plain}'


def _published_format(files: set[str], synsets: bool) -> tuple[Format, list[str], str] | None:
    """(format, manifests, label kind) by the names of files in a folder and in those directly below it."""
    base = {name.rpartition('/')[2]: name for name in sorted(files, reverse=True)}

    def named(*names: str) -> list[str]:
        return [base[name] for name in names if name in base]

    if named('data_batch_1.bin'):
        return 'cifar10', [], 'single'
    if len(named('train.bin', 'fine_label_names.txt')) == 2:
        return 'cifar100', [], 'single'
    if synsets:
        return 'imagenet', [], 'single'
    if {'annotations/trainval.txt', 'annotations/test.txt'} <= files:
        return 'pets', ['annotations/trainval.txt', 'annotations/test.txt'], 'single'
    if named('vggsound.csv'):
        return 'vggsound', named('vggsound.csv'), 'single'
    if len(named('trainingSet.csv', 'validationSet.csv')) == 2:
        return 'moments', named('trainingSet.csv', 'validationSet.csv'), 'single'
    segments = named('balanced_train_segments.csv', 'unbalanced_train_segments.csv', 'eval_segments.csv')
    if segments:
        return 'audioset', segments, 'multi'
    kinetics = sorted(name for name in files if re.fullmatch(r'(.*/)?(kinetics\w*_)?(train|val|test)\w*\.csv', name))
    return ('kinetics', kinetics, 'single') if kinetics else None


def _named_tables(folder: Folder, endings: tuple[str, ...]) -> list[str]:
    """The names of the files in a folder with these endings, but for those that `polyvit data export` has written."""
    return [name for name in folder.others
            if name.lower().endswith(endings) and not name.lower().endswith(hugging_face.EXPORTED)]


def _exported(folder: Folder) -> tuple[str, ...]:
    """The Croissant files in a folder that `polyvit data export` has written: each beside the table of its name."""
    return tuple(name for name in folder.others if name.endswith('.croissant.json')
                 and f'{name.removesuffix(".croissant.json")}{hugging_face.EXPORTED}' in folder.others)


def _is_croissant(path: str) -> bool:
    try:
        with open(path, 'rb') as file:
            return b'mlcommons.org/croissant' in file.read(1 << 16)
    except OSError:
        return False


def _has_list(text: bytes) -> bool:
    return re.search(rb'"labels?"\s*:\s*\[[^\]]*,', text) is not None


def _are_classes(by_class: dict[str, int], has_splits: bool) -> bool:
    """Whether folders seem to be named by classes. has_splits: whether they are below folders of splits."""
    return len(by_class) > 1 and (has_splits or not all(name.lower() in SPLITS for name in by_class))


def _about_columns(parts: list[tables.Meaning], timed: bool, names_say_split: bool) -> tuple[list[str], list[str]]:
    """(evidence, what is unsure) of a manifest's columns. names_say_split: whether names of files or folders do."""
    first, rows = parts[0], sum(len(part.table.rows) for part in parts)
    looked_up, found = sum(part.looked_up for part in parts), sum(part.found for part in parts)
    place = (f'{found:,} of {looked_up:,} values of the column {first.path} that were looked up are files' if first.path
             else f'the texts are in the column {first.text}')
    evidence = [f'{" and ".join(part.table.name for part in parts)}: {place}; '
                f'{"captions" if first.only_captions else "labels"} are in {" and ".join(first.labels)}.']
    unsure = [remark for part in parts for remark in part.remarks]
    if not first.sure:
        others = [*first.others, *first.groups][:8]
        unsure.append(f'No column is called label; {first.labels[0]} has the fewest values.'
                      + (f' Other columns: {", ".join(others)}.' if others else ''))
    if first.only_captions:
        evidence.append('Nothing else says what is in the files, so the task learns which words the captions have '
                        "(label_kind='words').")
    if first.path and first.text and not first.only_captions:
        evidence.append(f'The column {first.text} has captions, which are not used.' + (
            '' if first.several or len(first.labels) > 1 else f' With text={first.text!r} among its Columns, and '
            "objective='captions' in its Recipe, the task learns which caption belongs to which file."))
    if first.several and len(first.labels) == 1:
        mark = f'joined by {first.separator!r}' if first.separator else 'in lists'
        evidence.append(f'A row may have several {"captions" if first.only_captions else "labels"}, {mark}.')
    empty = sum(map(tables.unlabelled, parts))
    if empty:
        unsure.append(f'{empty:,} of the {rows:,} rows that were looked at have no label, and are rejected.'
                      + (' If that means that no class is right, set Data(allow_unlabelled=True).'
                         if first.several else ''))
    distinct = {value for part in parts for value in part.table.values(first.labels[0])}
    if len(distinct) > rows / 2 and not first.several and rows > 10 and not first.only_captions:
        unsure.append(f'{first.labels[0]} has {len(distinct):,} values in {rows:,} rows: is it a class?')
    if not first.split and names_say_split:
        evidence.append('Names of manifests or folders say the split.')
    elif not first.split:
        evidence.append('No column names a split, so a hash puts a fifth of the examples into eval.')
    if timed and (first.start or first.end):
        evidence.append(f'Segments: {" and ".join(filter(None, (first.start, first.end)))} are numbers, taken for '
                        'seconds.')
    if first.others and first.sure:
        evidence.append(f'Not used: the column{"s" if len(first.others) > 1 else ""} {", ".join(first.others[:8])}. '
                        'Columns(extra=(...)) keeps some, for metrics by their values.')
    return evidence, unsure


def _names_say_split(names: tuple[str, ...], own: Folder | None, parts: list[tables.Meaning]) -> bool:
    """Whether the listing takes splits from the names of annotation files or folders. own: as for _add_manifest."""
    if own is None:
        if listing.splits_of_files(names):
            return True
        names = tuple(name for name in names if manifests.format_of(name) in OPTIONAL_MANIFEST)
    elif any(path[len(own.path):].lstrip('/').partition('/')[0].lower() in SPLITS
             for part in parts for path in part.paths()):
        return True
    with contextlib.suppress(ConfigError):  # a name of both splits
        return any(map(listing.split_of_path, names))
    return False


def _some_of_rows(parts: list[tables.Meaning]) -> list[Entry]:
    """Entries of the rows that were read."""
    some = []
    for part in parts:
        name = os.path.relpath(part.table.name, part.folder or '.')
        paths_ = part.paths() or [''] * len(part.table.rows)
        for number, (row, path) in enumerate(zip(part.table.rows, paths_, strict=True), 1):
            labels = re.split(r'\n' if not part.separator else re.escape(part.separator), row.get(part.labels[0], ''))
            split = SPLITS.get(row.get(part.split, '').strip().lower(), 'train')
            text = '' if part.path else row.get(part.text, '').strip()
            if (path or text) and any(labels):
                path = path[len(part.folder):].lstrip('/') if part.folder else path
                of_row = dict(member=f'{number:08d}', record=TEXT, text=text) if text else {}
                some.append(Entry(path or name, tuple(filter(None, map(str.strip, labels))), split, **of_row))
    return some


def _shares(by_modality: dict[str, int]) -> str:
    """'120 image files and 3 audio files'."""
    return ' and '.join(words.count(count, f'{name} file') for name, count in by_modality.items())


def _listed(endings: dict[str, int]) -> str:
    return ' and '.join(words.count(count, f'{name} file') for name, count in endings.items())
