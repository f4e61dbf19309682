/**
 * The status page's script, run by browsers as it is. It gets samples and changes over /api/events and writes them into
 * the document with textContent only: no text that it is given can become markup. Connected only while the page is
 * looked at.
 */

const HISTORY = 120;
const MAX_SHOWN_CHANGES = 200;
const MAX_WAITING_CHANGES = 400;
/** A server that says nothing for so long is gone, whatever the connection looks like. */
const SILENCE_MS = 8000;
const RECONNECT_MS = 3000;

const byId = (id) => document.getElementById(id);

/** An element with a class and a text or children. */
function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  element.append(...content);
  return element;
}

/** Writes only what is different: what a screen reader or a selection is at stays where it is. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const wholeNumber = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const shortNumber = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const timeOfDay = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

function bytesText(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${shortNumber.format(value)} ${units[unit]}`;
}

function durationText(milliseconds) {
  if (milliseconds < 1000) return `${shortNumber.format(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${shortNumber.format(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${Math.floor(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} m`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

function sinceText(iso) {
  return dateAndTime.format(new Date(iso));
}

/** Makes the children of a list be those for `items`, by key; keeps and updates what is there. */
function keepList(parent, items, keyOf, create, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = before.get(key);
    if (child === undefined) {
      child = create(item);
      child.dataset.key = key;
    } else before.delete(key);
    if (child !== at) parent.insertBefore(child, at);
    else at = at.nextElementSibling;
    update(child, item);
  }
  for (const child of before.values()) child.remove();
}

// The folders.

const CELLS = ['State', 'Revision', 'Entries', 'Size', 'Watcher', 'Lag'];
const NUMBERS = new Set(['Revision', 'Entries', 'Size', 'Lag']);

function createFolderRow({ folder }) {
  const row = make('tr', '');
  row.setAttribute('role', 'row');
  const name = make('th', '', folder);
  name.scope = 'row';
  name.setAttribute('role', 'rowheader');
  row.append(name);
  for (const title of CELLS) {
    const cell = make('td', NUMBERS.has(title) ? 'number' : '', make('span', ''), make('small', ''));
    cell.dataset.title = title;
    cell.setAttribute('role', 'cell');
    row.append(cell);
  }
  return row;
}

function updateFolderRow(row, folder) {
  const { holder } = folder;
  const isDurable = folder.durableRevision === folder.headRevision;
  const texts = [
    [folder.state, folder.stateReason],
    [wholeNumber.format(BigInt(folder.headRevision)), isDurable ? '' : `durable ${folder.durableRevision}`],
    [wholeNumber.format(folder.entries), ''],
    [bytesText(folder.contentBytes), ''],
    holder === null
      ? ['none', '']
      : [holder.holder, `${holder.connected ? 'connected since' : 'gone; since'} ${sinceText(holder.since)}`],
    folder.lagMs === 0
      ? ['none', '']
      : [durationText(folder.lagMs), `${bytesText(folder.queuedBytes)} wait`],
  ];
  texts.forEach(([text, note], index) => {
    const [main, small] = row.children[index + 1].children;
    write(main, text);
    write(small, note);
    small.hidden = note === '';
  });
  row.children[1].firstElementChild.className = `badge ${folder.state}`;
  row.children[5].firstElementChild.className = holder === null ? 'quiet' : '';
  row.children[6].firstElementChild.className = folder.lagMs === 0 ? 'quiet' : '';
}

function showFolders(folders) {
  const rows = byId('folder-rows');
  // What came with the document was made for who has no scripts.
  for (const row of [...rows.children]) if (row.dataset.key === undefined) row.remove();
  keepList(rows, folders, ({ folder }) => folder, createFolderRow, updateFolderRow);
  byId('no-folders').hidden = folders.length > 0;
}

// What is wrong, and what helps.

function showProblems(folders) {
  const problems = folders.flatMap(({ folder, problems: list }) => list.map((problem) => ({ folder, ...problem })));
  const count = problems.length;
  write(byId('problems-summary'), count === 0 ? 'None.' : count === 1 ? 'One problem.' : `${count} problems.`);
  keepList(
    byId('problems'),
    problems.slice(0, 50),
    ({ folder, path, reason, since }) => JSON.stringify([folder, path, reason, path === null ? since : '']),
    () => make('li', '', make('strong', ''), ' ', make('span', ''), make('small', 'remedy'), make('small', '')),
    (item, { folder, path, reason, message, remedy, since, count: times }) => {
      const [what, why, help, when] = item.children;
      write(what, path === null ? folder : `${folder}: ${path}`);
      write(why, message === '' ? reason : message);
      write(help, remedy);
      write(when, since === null ? '' : `${reason}, since ${sinceText(since)}${times > 1 ? `, ${times} times` : ''}`);
    },
  );
}

// Verification and scrub.

function checksOf(folder) {
  const checks = folder.verifications.map((check) => ({
    key: `${folder.folder} verify ${check.startedAt}`,
    title: `${folder.folder}: verification`,
    text: `${check.endedAt === null ? 'running' : `ended ${sinceText(check.endedAt)}`}, ${countsText(check)}`,
    reading: check.endedAt === null ? check : null,
    contentBytes: folder.contentBytes,
  }));
  const { scrub } = folder;
  const passes = scrub === null ? '' : `${scrub.passes} ${scrub.passes === 1 ? 'pass' : 'passes'} since the start, `;
  const found = scrub === null ? '' : `${scrub.mismatches} found wrong`;
  checks.push({
    key: `${folder.folder} scrub`,
    title: `${folder.folder}: scrub`,
    text: scrub === null ? 'off' : `${scrub.reading === null ? 'waiting' : 'reading'}; ${passes}${found}`,
    reading: scrub?.reading ?? null,
    contentBytes: folder.contentBytes,
  });
  return checks;
}

function countsText({ entries, contentBytes, mismatches }) {
  return `${wholeNumber.format(entries)} entries, ${bytesText(contentBytes)} read, ${mismatches} mismatches`;
}

function showChecks(folders) {
  keepList(
    byId('checks'),
    folders.flatMap(checksOf),
    ({ key }) => key,
    () => make('li', '', make('strong', ''), ' ', make('span', ''), make('progress', '')),
    (item, { title, text, reading, contentBytes }) => {
      const [name, state, bar] = item.children;
      write(name, title);
      write(state, text);
      bar.hidden = reading === null;
      bar.setAttribute('aria-label', title);
      if (reading === null) return;
      bar.max = Math.max(1, contentBytes);
      bar.value = Math.min(reading.contentBytes, bar.max);
    },
  );
}

// Charts: one point a second.

class Chart {
  #figure;
  #values = [];
  #text;

  constructor(id, text) {
    this.#figure = byId(`chart-${id}`);
    this.#text = text;
  }

  /** `value` null: nothing happened. */
  add(value) {
    this.#values.push(value);
    if (this.#values.length > HISTORY) this.#values.shift();
    write(this.#figure.querySelector('output'), value === null ? '–' : this.#text(value));
    this.#draw();
  }

  #draw() {
    const top = Math.max(...this.#values.map((value) => value ?? 0));
    const scale = top === 0 ? 0 : 36 / top;
    const first = HISTORY - this.#values.length;
    const points = this.#values.map((value, at) => `${first + at},${(39 - (value ?? 0) * scale).toFixed(2)}`);
    const line = points.length < 2 ? '' : `M${points.join('L')}`;
    this.#figure.querySelector('.line').setAttribute('d', line);
    this.#figure.querySelector('.area').setAttribute('d', line === '' ? '' : `M${first},40L${points.join('L')}L${HISTORY - 1},40Z`);
    write(this.#figure.querySelector('.chart-top'), top === 0 ? '' : `most ${this.#text(top)}`);
  }
}

const charts = {
  throughput: new Chart('throughput', (value) => `${bytesText(value)}/s`),
  changes: new Chart('changes', (value) => `${shortNumber.format(value)}/s`),
  latency: new Chart('latency', durationText),
};
let lastTotals;

function showActivity({ timeMs, status, latencyMs }) {
  const sum = (name) => status.folders.reduce((total, folder) => total + folder[name], 0);
  const totals = { timeMs, changes: sum('changes'), wireBytes: sum('wireBytes') };
  const before = lastTotals;
  lastTotals = totals;
  // The first sample, or another server.
  if (before === undefined || totals.changes < before.changes || timeMs <= before.timeMs) return;
  const seconds = (timeMs - before.timeMs) / 1000;
  charts.throughput.add((totals.wireBytes - before.wireBytes) / seconds);
  charts.changes.add((totals.changes - before.changes) / seconds);
  charts.latency.add(latencyMs === null ? null : latencyMs.p99);
}

// The feed of changes.

let isPaused = false;
let waiting = [];
let waitingOmitted = 0;

const WORDS = { put: 'put', mkdir: 'mkdir', symlink: 'symlink', metadata: 'metadata', move: 'move', delete: 'delete' };

function changeItem({ timeMs, folder, operation, path, from, sizeBytes }) {
  const word = WORDS[operation] ?? 'change';
  const name = path === null ? '(name not shown)' : from === null ? path : `${from} → ${path}`;
  const item = make(
    'li',
    'new',
    make('span', 'when quiet', timeOfDay.format(new Date(timeMs))),
    make('span', `what ${word}`, word),
    make('span', 'where', name),
    make('span', 'size quiet', sizeBytes === null ? '' : bytesText(sizeBytes)),
  );
  item.title = folder;
  return item;
}

function showChanges(changes, omitted) {
  if (changes.length === 0 && omitted === 0) return;
  byId('no-changes').hidden = true;
  const list = byId('changes');
  list.hidden = false;
  const items = changes.map(changeItem).reverse();
  if (omitted > 0) items.unshift(make('li', 'new quiet', make('span', ''), make('span', ''), make('span', 'where', `and ${wholeNumber.format(omitted)} more`)));
  list.prepend(...items);
  while (list.children.length > MAX_SHOWN_CHANGES) list.lastElementChild.remove();
}

function takeChanges({ changes, omitted }) {
  if (!isPaused) {
    showChanges(changes, omitted);
    return;
  }
  waiting.push(...changes);
  waitingOmitted += omitted;
  while (waiting.length > MAX_WAITING_CHANGES) {
    waiting.shift();
    waitingOmitted++;
  }
}

byId('pause').addEventListener('click', () => {
  isPaused = !isPaused;
  byId('pause').setAttribute('aria-pressed', String(isPaused));
  write(byId('pause'), isPaused ? 'Resume' : 'Pause');
  if (isPaused) return;
  showChanges(waiting, waitingOmitted);
  waiting = [];
  waitingOmitted = 0;
});

// The connection.

let events;
let silence;
let retry;

function takeSample(sample) {
  const { status } = sample;
  write(byId('connection'), 'live');
  write(byId('state'), status.state);
  byId('state').className = `badge ${status.state}`;
  write(byId('uptime'), `for ${durationText(status.uptimeSeconds * 1000)}`);
  write(byId('version'), status.version);
  showFolders(status.folders);
  showProblems(status.folders);
  showChecks(status.folders);
  showActivity(sample);
}

function lost() {
  write(byId('connection'), 'The connection is lost; what you see is old. Trying again.');
  write(byId('state'), 'not connected');
  byId('state').className = 'badge lost';
  lastTotals = undefined;
}

function disconnect() {
  clearTimeout(silence);
  clearTimeout(retry);
  events?.close();
  events = undefined;
}

function connect() {
  disconnect();
  const source = new EventSource('/api/events');
  events = source;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      lost();
      connect();
    }, SILENCE_MS);
  };
  heard();
  source.addEventListener('sample', (event) => {
    heard();
    takeSample(JSON.parse(event.data));
  });
  source.addEventListener('changes', (event) => takeChanges(JSON.parse(event.data)));
  source.addEventListener('error', () => {
    lost();
    // A refusal ends an EventSource for good; a broken connection is its own affair.
    if (source.readyState !== EventSource.CLOSED) return;
    disconnect();
    retry = setTimeout(connect, RECONNECT_MS);
  });
}

for (const section of document.querySelectorAll('.live')) section.hidden = false;
document.addEventListener('visibilitychange', () => {
  if (document.hidden) disconnect();
  else connect();
});
if (!document.hidden) connect();
