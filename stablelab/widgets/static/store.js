// The points this page has, and whether it has missed any.

const COLUMN = { step: 0, loss: 1, smooth: 2, before: 3, after: 4, limit: 5, rate: 6, clipped: 7 };
const WIDTH = 8;
const EVALUATION_WIDTH = 3; // step, loss, accuracy

function floats(view) {
  // A buffer of a message may start anywhere; float32 must start at a multiple of 4.
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return new Float32Array(bytes.slice().buffer);
}

class Table {
  constructor(width) {
    this.width = width;
    this.count = 0;
    this.values = new Float32Array(256 * width);
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

  // The row whose step (column 0) is nearest; -1 where there is none. Steps ascend.
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
    this.rows = new Table(WIDTH);
    this.evaluations = new Table(EVALUATION_WIDTH);
    this.ghosts = [];
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
    [this.picked, this.born] = [content.picked ?? null, content.born ?? 0];
    const hidden = new Set(this.ghosts.filter((ghost) => ghost.hidden).map((ghost) => ghost.id));
    this.rows = new Table(WIDTH);
    this.evaluations = new Table(EVALUATION_WIDTH);
    this.ghosts = content.ghosts.map(({ id, label, parent }, i) => {
      const ghost = { id, label, parent, hidden: hidden.has(id), rows: new Table(WIDTH), evaluations: new Table(EVALUATION_WIDTH) };
      ghost.rows.add(floats(buffers[2 + 2 * i]));
      ghost.evaluations.add(floats(buffers[3 + 2 * i]));
      return ghost;
    });
  }

  get visibleGhosts() {
    return this.ghosts.filter((ghost) => !ghost.hidden);
  }

  // The newest step there is; null where there is none.
  get newest() {
    return this.rows.count ? this.rows.at(this.rows.count - 1, 0) : null;
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
