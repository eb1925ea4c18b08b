// The points this page has, and whether it has missed any. Which columns they have, and which of them are drawn in which
// panel, comes with the message that has everything.

function floats(view) {
  // A buffer of a message may start anywhere; float32 must start at a multiple of 4.
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return new Float32Array(bytes.slice().buffer);
}

// Rows of numbers; `index` says at which place of a row the column of a name is. Column 0 is the step, and ascends.
class Table {
  constructor(columns = []) {
    this.columns = columns;
    this.index = Object.fromEntries(columns.map((column, i) => [column.name, i]));
    this.width = columns.length;
    this.count = 0;
    this.values = new Float32Array(256 * this.width);
    this.smooth = null; // in the place of the column "smooth", where another smoothing is asked for
  }

  add(values) {
    const used = this.count * this.width;
    if (used + values.length > this.values.length) {
      const larger = new Float32Array(2 * (used + values.length));
      larger.set(this.values.subarray(0, used));
      this.values = larger;
    }
    this.values.set(values, used);
    this.count += values.length / this.width;
  }

  step(row) {
    return this.values[row * this.width];
  }

  // What a row has in the column of a name; NaN where there is no such column.
  reader(name) {
    if (name === "smooth" && this.smooth) return (row) => this.smooth.values[row];
    const column = this.index[name];
    return column === undefined ? () => NaN : (row) => this.values[row * this.width + column];
  }

  // The number of the newest row; NaN where there is none.
  newest(name) {
    return this.count ? this.reader(name)(this.count - 1) : NaN;
  }

  // The first row whose step is at least this; the count where there is none.
  from(step) {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.step(middle) < step) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // The row whose step is nearest; -1 where there is none.
  nearest(step) {
    if (!this.count) return -1;
    const low = Math.min(this.from(step), this.count - 1);
    return low > 0 && step - this.step(low - 1) <= this.step(low) - step ? low - 1 : low;
  }

  // Let "smooth" look back so many steps. What the kernel has smoothed already looks back `base`; a longer mean is a mean
  // of that one, because rows that were thinned out hold the extremes of the loss; a shorter one is of the loss itself.
  smoothOver(steps, base) {
    if (steps === base || this.index.smooth === undefined) {
      this.smooth = null;
      return;
    }
    if (this.smooth?.steps !== steps) this.smooth = { steps, count: 0, sum: 0, weight: 0, values: new Float32Array(256) };
    const mean = this.smooth;
    const [column, back] = steps > base ? [this.index.smooth, steps - base] : [this.index.loss, steps];
    if (mean.values.length < this.count) {
      const larger = new Float32Array(2 * this.count);
      larger.set(mean.values);
      mean.values = larger;
    }
    for (; mean.count < this.count; mean.count++) {
      const row = mean.count;
      const gap = row ? this.step(row) - this.step(row - 1) : 1;
      const [keep, value] = [Math.max(0, 1 - 1 / back) ** gap, this.values[row * this.width + column]];
      if (Number.isFinite(value)) {
        mean.sum = keep * mean.sum + (1 - keep) * value;
        mean.weight = keep * mean.weight + (1 - keep);
      }
      mean.values[row] = mean.weight ? mean.sum / mean.weight : NaN;
    }
  }
}

// Runs that differ only in the seed, at the steps that all of them have: their mean, and the standard deviation between
// them, of any column.
class Band {
  constructor({ label, short, look }, members) {
    Object.assign(this, { label, short, look, members, hidden: false });
    const tables = members.map((run) => run.rows);
    const rows = [];
    for (let i = 0; i < tables[0].count; i++) {
      const at = tables.map((table) => table.nearest(tables[0].step(i)));
      if (tables.every((table, k) => table.step(at[k]) === tables[0].step(i))) rows.push(at);
    }
    this.count = rows.length;
    this.step = (row) => tables[0].step(rows[row][0]);
    this.from = (step) => {
      let row = 0;
      while (row < this.count && this.step(row) < step) row++;
      return row;
    };
    this.kept = new Map();
    this.reader = (name, deviations = 0) => {
      const key = `${name}, ${tables[0].smooth?.steps}`;
      if (!this.kept.has(key)) this.kept.set(key, this.statistics(tables.map((table) => table.reader(name)), rows));
      const { mean, spread } = this.kept.get(key);
      return deviations ? (row) => mean[row] + deviations * spread[row] : (row) => mean[row];
    };
  }

  statistics(read, rows) {
    const values = rows.map((row) => row.map((place, k) => read[k](place)));
    const mean = values.map((row) => row.reduce((sum, value) => sum + value, 0) / row.length);
    const squares = (row, i) => row.reduce((sum, value) => sum + (value - mean[i]) ** 2, 0);
    return { mean, spread: values.map((row, i) => Math.sqrt(squares(row, i) / (row.length - 1))) };
  }
}

class Store {
  constructor() {
    this.next = null; // index of the point expected next; null before the first full message
    this.panels = [];
    this.rows = new Table();
    this.evaluations = new Table();
    this.earlierRuns = [];
    this.bands = [];
    this.picked = null; // the step to branch from
    this.born = 0; // how many steps are the parent's
    this.base = 8; // how many steps the kernel's smoothing looks back
    this.smoothing = null; // how many it shall look back; null for those of the kernel
    this.summary = { total: 0, clipped: 0, last: null, marks: [] };
  }

  // Take in a message; false where a message before it has been missed.
  accept(content, buffers) {
    if (content.type === "all") this.restart(content, buffers);
    else if (content.first !== this.next) return false;
    this.rows.add(floats(buffers[0]));
    this.evaluations.add(floats(buffers[1]));
    this.next = content.next;
    this.summary = content;
    return true;
  }

  restart(content, buffers) {
    const { columns, evaluation_columns: evaluationColumns, panels, smoothing } = content.layout;
    [this.picked, this.born, this.panels, this.base] = [content.picked ?? null, content.born ?? 0, panels, smoothing];
    this.rows = new Table(columns);
    this.evaluations = new Table(evaluationColumns);
    const hidden = new Set([...this.earlierRuns, ...this.bands].filter((one) => one.hidden).map((one) => one.label));
    this.earlierRuns = content.earlier_runs.map((about, i) => {
      const [rows, evaluations] = [new Table(about.columns.map((name) => ({ name }))), new Table(evaluationColumns)];
      rows.add(floats(buffers[2 + 2 * i]));
      evaluations.add(floats(buffers[3 + 2 * i]));
      return { ...about, rows, evaluations };
    });
    const run = (id) => this.earlierRuns.find((each) => each.id === id);
    this.bands = content.bands.map((about) => new Band(about, about.ids.map(run)));
    const banded = new Set(this.bands.flatMap((band) => band.members));
    this.earlierRuns = this.earlierRuns.filter((each) => !banded.has(each));
    for (const one of [...this.earlierRuns, ...this.bands]) one.hidden = hidden.has(one.label);
  }

  get visibleEarlierRuns() {
    return this.earlierRuns.filter((run) => !run.hidden);
  }

  get visibleBands() {
    return this.bands.filter((band) => !band.hidden);
  }

  // The newest step there is; null where there is none.
  get newest() {
    return this.rows.count ? this.rows.newest("step") : null;
  }

  // Bring the smoothed curves up to date.
  smooth() {
    const members = this.bands.flatMap((band) => band.members);
    const tables = [this.rows, ...[...this.earlierRuns, ...members].map((run) => run.rows)];
    for (const table of tables) table.smoothOver(this.smoothing ?? this.base, this.base);
  }
}

// A message that was packed into one string of bytes: length of the header, header (JSON), buffers.
function unpack(view) {
  const header = view.getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + 4, header));
  const content = JSON.parse(text);
  let at = view.byteOffset + 4 + header;
  const buffers = content.sizes.map((size) => {
    at += size;
    return new DataView(view.buffer, at - size, size);
  });
  return [content, buffers];
}
