/** A process of the simulation: what it has planned happens while it lives, and not while it is stopped. */
export interface SimProcess {
  readonly name: string;
  alive: boolean;
  /** Virtual moment until which it is stopped (SIGSTOP), in ms; 0 when it runs. */
  stoppedUntil: number;
}

export const newProcess = (name: string): SimProcess => ({ name, alive: true, stoppedUntil: 0 });

interface Planned {
  at: number;
  /** Breaks ties: who planned first goes first. */
  readonly order: number;
  readonly owner: SimProcess | undefined;
  readonly run: () => void;
  cancelled: boolean;
  /** Its time came while its owner was stopped. */
  readonly isLate?: boolean;
}

/** Where virtual time begins. */
const START = Date.UTC(2026, 0, 1);

const real = {
  Date: globalThis.Date,
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  setImmediate: globalThis.setImmediate,
};

/**
 * Time that passes only when everything that could happen has happened.
 *
 * While it is installed, `setTimeout`, `setInterval` and `Date` of the whole thread are virtual, so that the
 * code under test runs as it is. Whatever a process plans is its own: it dies with it (kill -9) and waits
 * while it is stopped. Nothing here is random; with the same plans the same happens.
 */
export class VirtualTime implements Disposable {
  now = START;
  /** Whose code is running: what it plans is its own. */
  owner: SimProcess | undefined;
  readonly #heap: Planned[] = [];
  #order = 0;
  /** Things that are under way in real time (queries); time stands still until they are done. */
  pending = 0;
  /** How many planned things have happened. */
  steps = 0;

  constructor() {
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- a class below has a `this` of its own
    const time = this;
    globalThis.setTimeout = ((run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
      handleOf(time.plan(ms, () => run(...args)))) as never;
    globalThis.setInterval = ((run: () => void, ms: number) => {
      let planned: Planned;
      const handle = handleOf({ cancelled: false } as Planned);
      const again = (): void => {
        planned = time.plan(ms, () => {
          again();
          run();
        });
        handle.planned = planned;
      };
      again();
      return handle;
    }) as never;
    const cancel = (handle: { planned?: Planned } | undefined): void => {
      if (handle?.planned) handle.planned.cancelled = true;
    };
    globalThis.clearTimeout = cancel as never;
    globalThis.clearInterval = cancel as never;
    globalThis.Date = class extends real.Date {
      constructor(...args: [] | [never]) {
        super(...((args.length === 0 ? [time.now] : args) as [never]));
      }
      static override now(): number {
        return time.now;
      }
      static override [Symbol.hasInstance](value: unknown): boolean {
        return Object.prototype.toString.call(value) === '[object Date]';
      }
    } as never;
  }

  /** Plans something for whoever is running, or for somebody else. */
  plan(ms: number, run: () => void, owner = this.owner): Planned {
    const planned: Planned = { at: this.now + Math.max(0, ms), order: this.#order++, owner, run, cancelled: false };
    push(this.#heap, planned);
    return planned;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.plan(ms, resolve));
  }

  /** Runs `work` as a process; what it plans before it returns is that process's. What it awaits is not: plan that. */
  as<T>(owner: SimProcess | undefined, work: () => T): T {
    const before = this.owner;
    this.owner = owner;
    try {
      return work();
    } finally {
      this.owner = before;
    }
  }

  /** A stopped process goes on before its time: what it has slept through happens now. */
  wake(owner: SimProcess): void {
    owner.stoppedUntil = 0;
    for (const planned of this.#heap) if (planned.owner === owner && planned.isLate) planned.at = this.now;
    this.#heap.sort((a, b) => (isBefore(a, b) ? -1 : 1));
  }

  /** Lets everything happen that is planned until a moment. */
  async runUntil(until: number, afterEach: () => void): Promise<void> {
    for (;;) {
      const next = this.#heap[0];
      if (!next || next.at > until) break;
      pop(this.#heap);
      const { owner } = next;
      if (next.cancelled || owner?.alive === false) continue;
      this.now = Math.max(this.now, next.at);
      if (owner && owner.stoppedUntil > this.now) {
        // In the order in which it was planned, as a process that wakes up finds its timers and sockets.
        push(this.#heap, { ...next, at: owner.stoppedUntil, isLate: true, run: () => next.cancelled || next.run() });
        continue;
      }
      this.steps++;
      this.owner = owner;
      next.run();
      await this.#settle();
      this.owner = undefined;
      afterEach();
    }
    this.now = until;
  }

  /** Everything that follows from what has just happened without time passing. */
  async #settle(): Promise<void> {
    do await new Promise((done) => real.setImmediate(done));
    while (this.pending > 0);
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, real);
  }
}

function handleOf(planned: Planned) {
  const handle = { planned, ref: () => handle, unref: () => handle, hasRef: () => false, refresh: () => handle };
  return handle;
}

const isBefore = (a: Planned, b: Planned): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

function push(heap: Planned[], item: Planned): void {
  let at = heap.push(item) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!isBefore(item, heap[parent] as Planned)) break;
    heap[at] = heap[parent] as Planned;
    at = parent;
  }
  heap[at] = item;
}

function pop(heap: Planned[]): void {
  const last = heap.pop() as Planned;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1] as Planned, heap[child] as Planned)) child++;
    if (!isBefore(heap[child] as Planned, last)) break;
    heap[at] = heap[child] as Planned;
    at = child;
  }
  heap[at] = last;
}
