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

  at(row, column) {
    return this.values[row * this.width + column];
  }

  // The number of the newest row; NaN where there is none.
  newest(name) {
    return this.count ? this.at(this.count - 1, this.index[name]) : NaN;
  }

  // The row whose step is nearest; -1 where there is none.
  nearest(step) {
    if (!this.count) return -1;
    let [low, high] = [0, this.count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at(middle, 0) < step) low = middle + 1;
      else high = middle;
    }
    return low > 0 && step - this.at(low - 1, 0) <= this.at(low, 0) - step ? low - 1 : low;
  }
}

class Store {
  constructor() {
    this.next = null; // index of the point expected next; null before the first full message
    this.panels = [];
    this.rows = new Table();
    this.evaluations = new Table();
    this.earlierRuns = [];
    this.picked = null; // the step to branch from
    this.born = 0; // how many steps are the parent's
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
    const { columns, evaluation_columns: evaluationColumns, panels } = content.layout;
    [this.picked, this.born, this.panels] = [content.picked ?? null, content.born ?? 0, panels];
    this.rows = new Table(columns);
    this.evaluations = new Table(evaluationColumns);
    const hidden = new Set(this.earlierRuns.filter((run) => run.hidden).map((run) => run.id));
    this.earlierRuns = content.earlier_runs.map(({ id, label, parent }, i) => {
      const [rows, evaluations] = [new Table(columns), new Table(evaluationColumns)];
      rows.add(floats(buffers[2 + 2 * i]));
      evaluations.add(floats(buffers[3 + 2 * i]));
      return { id, label, parent, hidden: hidden.has(id), rows, evaluations };
    });
  }

  get visibleEarlierRuns() {
    return this.earlierRuns.filter((run) => !run.hidden);
  }

  // The newest step there is; null where there is none.
  get newest() {
    return this.rows.count ? this.rows.newest("step") : null;
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
