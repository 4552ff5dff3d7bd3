// The page is complete without this script. With it, tables are sorted by their headings and clips play.
'use strict';

const FRAME_MS = 250;

document.addEventListener('DOMContentLoaded', () => {
  document.querySelectorAll('table.sortable').forEach(addSorting);
  document.querySelectorAll('.media[data-frames]').forEach(addPlaying);
});

function addSorting(table) {
  table.querySelectorAll('thead th').forEach(heading => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener('click', () => {
      const ascending = heading.getAttribute('aria-sort') !== 'ascending';
      table.querySelectorAll('th[aria-sort]').forEach(other => other.removeAttribute('aria-sort'));
      heading.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
      sortRows(table.tBodies[0], heading.cellIndex, ascending ? 1 : -1);
    });
  });
}

// Cells without a value ('–') are last in both directions.
function sortRows(body, column, direction) {
  const rows = [...body.rows].map(row => [row.cells[column].textContent.trim().replace('−', '-').replaceAll(',', ''), row]);
  const numeric = rows.every(([text]) => text === '–' || !Number.isNaN(parseFloat(text)));
  rows.sort(([a], [b]) => a === '–' || b === '–' ? (a === '–') - (b === '–')
    : direction * (numeric ? parseFloat(a) - parseFloat(b) : a.localeCompare(b)));
  body.append(...rows.map(([, row]) => row));
}

// A strip has its frames side by side, 2 pixels apart. While it plays, the picture shows one of them at a time.
function addPlaying(media) {
  const picture = media.querySelector('img'), count = Number(media.dataset.frames);
  const step = (picture.width + 2) / count;
  const button = document.createElement('button');
  let timer = 0;
  button.type = 'button';
  button.textContent = 'Play';
  button.setAttribute('aria-label', `Play ${picture.alt}`);
  button.addEventListener('click', () => {
    const playing = !timer;
    button.textContent = playing ? 'Stop' : 'Play';
    button.setAttribute('aria-label', `${button.textContent} ${picture.alt}`);
    media.classList.toggle('playing', playing);
    picture.style.width = playing ? `${step - 2}px` : '';
    if (!playing) {
      clearInterval(timer);
      timer = 0;
      return;
    }
    let frame = 0;
    const show = () => { picture.style.objectPosition = `${-step * (frame++ % count)}px 0`; };
    show();
    timer = setInterval(show, FRAME_MS);
  });
  media.append(button);
}
