import { RookeryError } from '@rookery/wire/errors.ts';
import { inventoryDigest } from '@rookery/wire/inventory-digest.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { mapIterator } from '@rookery/wire/push-iterator.ts';
import type { RuntimeFinder } from '../runtime/runtime-finder.ts';
import type { ContainerStatus, ExecEvent, ExecRequest, Runtime } from '../runtime/runtime.ts';
import { observed, type Inventory, type ObservedSandbox } from './inventory.ts';
import { IdleWatch } from './idle-watch.ts';
import { PolicyRounds, type PolicyChange } from './policy-rounds.ts';
import { KeyedQueue } from './sandbox.queue.ts';
import {
  accept,
  failed,
  hold,
  idleSince,
  nextStep,
  observe,
  recovered,
  release,
  type DesiredState,
  type ErrorCause,
  type HoldReason,
  type SandboxRecord,
  type SandboxSpec,
} from './sandbox.state.ts';
import type { EpochCounter, SandboxStore } from './sandbox.store.ts';
import type { Tombstones } from './tombstones.ts';

/** How often all containers are looked at, in ms. One that dies on its own is reported this late; a look costs some 15 ms of CPU. */
const OBSERVE_PERIOD_MS = 5_000;

/** Steps in a row before we take it that a container does not become what we want. */
const MAX_STEPS = 5;

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

export interface SupervisorDeps {
  readonly store: SandboxStore;
  readonly tombstones: Pick<Tombstones, 'of' | 'bury'>;
  readonly epoch: EpochCounter;
  readonly finder: RuntimeFinder;
  readonly bootId: string;
  readonly log: Logger;
  /** Told of every observed change, with the sandbox's id. */
  readonly onChange: (id: string) => void;
}

/**
 * Makes this host's sandboxes what control wants them to be, and knows what they are.
 *
 * Work on one sandbox is serialised; every wish is written down before it is acted on, and every
 * outcome after, so that a new agent goes on where a killed one stopped.
 */
export class SandboxSupervisor implements AsyncDisposable {
  readonly #deps: SupervisorDeps;
  readonly #records = new Map<string, SandboxRecord>();
  readonly #queue = new KeyedQueue();
  readonly #activity = new Map<string, string>();
  /** Sandboxes whose records were damaged when this agent started. */
  readonly #damaged = new Set<string>();
  readonly #execs = new Set<AsyncIterableIterator<ExecEvent>>();
  readonly #idle = new IdleWatch((id) => void this.#pauseIdle(id).catch(this.#logFailure(id)));
  readonly #policy = new PolicyRounds(
    this.#queue,
    (id, change) => this.#applyPolicy(id, change),
    (id, err) => this.#logFailure(id)(err),
  );
  #timer: NodeJS.Timeout | undefined;
  #closing = false;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
  }

  /** Takes over what an earlier agent has left: running containers, half-done work, leftovers. */
  async start(): Promise<void> {
    const { records, damaged } = await this.#deps.store.takeOver();
    for (const record of records) this.#keep(record.spec.id, record);
    const containers = await this.#look();
    for (const name of damaged) await this.#recover(name, containers);
    if (containers)
      await this.#adopt(containers).catch((err: unknown) =>
        this.#deps.log.warn({ err }, 'the containers could not be taken over'),
      );
    this.#deps.log.info({ sandboxes: this.#records.size }, 'sandboxes taken over');
    this.#schedule();
  }

  /** Converges a sandbox to a spec and answers with what is there when that is done. */
  apply(spec: SandboxSpec, desiredState: DesiredState, generation: number): Promise<ObservedSandbox> {
    this.#refuseWhenClosing();
    return this.#queue.run(spec.id, async () => {
      const runtime = await this.#runtime();
      if (this.#records.get(spec.id)?.removing) await this.#finishRemoval(runtime, spec.id);
      const removed = this.#deps.tombstones.of(spec.id);
      if (removed !== undefined && generation <= removed) {
        throw new RookeryError('CONFLICT', `The sandbox was removed at generation ${removed}.`);
      }
      const before = this.#records.get(spec.id);
      const record = accept(before, spec, desiredState, generation, this.#deps.bootId);
      await this.#save(spec.id, record);
      // A sandbox that was never here has no container: leftovers were removed at the start.
      const container = before ? await runtime.state(spec.id) : 'absent';
      await this.#step(runtime, spec.id, container);
      return this.#observed(this.#record(spec.id));
    });
  }

  /** Kills and deletes everything of a sandbox. @returns whether there was anything. */
  remove(id: string, generation: number): Promise<boolean> {
    this.#refuseWhenClosing();
    return this.#queue.run(id, async () => {
      const record = this.#records.get(id);
      if (record && generation < record.generation) {
        throw new RookeryError('CONFLICT', `The sandbox is at generation ${record.generation} already.`);
      }
      await this.#deps.tombstones.bury(id, generation);
      if (!record) return false;
      const runtime = await this.#runtime();
      await this.#save(id, { ...record, generation, removing: true });
      await this.#finishRemoval(runtime, id);
      return true;
    });
  }

  /** Runs a command in a sandbox. @throws {RookeryError} `NOT_FOUND`, or `CONFLICT` when it is not running. */
  async exec(id: string, request: ExecRequest): Promise<AsyncIterableIterator<ExecEvent>> {
    this.#refuseWhenClosing();
    const record = this.#records.get(id);
    if (!record) throw new RookeryError('NOT_FOUND', 'There is no such sandbox on this host.');
    if (record.status !== 'RUNNING') {
      throw new RookeryError('CONFLICT', `Cannot run a command in a sandbox that is ${record.status.toLowerCase()}.`);
    }
    // From here on it is not idle; a pause that was decided before wins.
    if (record.idle || !this.#idle.enter(id)) {
      throw new RookeryError('CONFLICT', 'Cannot run a command in a sandbox that is being paused.');
    }
    const events = await this.#runtime().then(
      (runtime) => runtime.exec(id, request),
      (error: unknown) => {
        this.#idle.leave(id);
        throw error;
      },
    );
    this.#execs.add(events);
    this.#touch(id);
    const ended = (): void => {
      if (!this.#execs.delete(events)) return;
      this.#idle.leave(id);
      this.#touch(id);
    };
    const source: AsyncIterator<ExecEvent> = {
      next: async () => {
        try {
          const step = await events.next();
          if (step.done) ended();
          return step;
        } catch (error) {
          ended();
          // It may have failed because the container is gone: look at once.
          void this.#converge(id).catch(this.#logFailure(id));
          throw error;
        }
      },
      return: async () => {
        await events.return?.();
        ended();
        return { done: true, value: undefined };
      },
    };
    return mapIterator(source, (event) => {
      // A command killed from outside may be the sign of a sandbox that ended.
      if (event.kind === 'EXIT' && event.signal !== null) void this.#converge(id).catch(this.#logFailure(id));
      return event;
    });
  }

  inventory(): Inventory {
    const sandboxes = [...this.#records.values()].map((record) => this.#observed(record));
    return { epoch: this.#deps.epoch.value, bootId: this.#deps.bootId, digest: inventoryDigest(sandboxes), sandboxes };
  }

  /** Sandboxes whose records were found damaged, for as long as this agent runs and they exist. */
  get damaged(): readonly string[] {
    return [...this.#damaged];
  }

  /** Pauses by policy everything that runs, and journals that it did. */
  async holdAll(reason: HoldReason): Promise<void> {
    await this.#policy.begin(this.#records.keys(), (record) => hold(record, reason, now()));
  }

  /**
   * Begins to end pauses by policy: what has not been paused yet is not.
   *
   * @returns what is paused, or may be in this moment, and waits for {@link releaseAll}.
   */
  endHolds(): string[] {
    void this.#policy.begin([], release);
    return [...this.#records].filter(([id, { hold: held }]) => held || !this.#queue.isIdle(id)).map(([id]) => id);
  }

  /** Ends pauses by policy: what control wants running runs again. @param ids default: all. */
  async releaseAll(ids: Iterable<string> = this.#records.keys()): Promise<void> {
    await this.#policy.begin(ids, release);
  }

  /** Pauses a sandbox in which nothing has happened for its timeout, and journals that it did. */
  #pauseIdle(id: string): Promise<void> {
    return this.#queue.run(id, async () => {
      const record = this.#records.get(id);
      if (!record || this.#closing) return;
      await this.#idle.whilePausing(id, async () => {
        await this.#save(id, idleSince(record, now()));
        const runtime = await this.#runtime();
        await this.#step(runtime, id, await runtime.state(id));
      });
    });
  }

  /** Looks at all containers once; called periodically. "Could not tell" changes nothing. */
  async observeAll(): Promise<void> {
    const { runtime } = await this.#deps.finder.find();
    if (!runtime) return;
    await this.#policy.settle();
    const before = new Map(this.#records);
    const containers = await runtime.list();
    for (const [id, record] of before) {
      // Whatever was worked on meanwhile is newer than the list.
      if (this.#records.get(id) !== record || !this.#queue.isIdle(id)) continue;
      const container = containers.get(id) ?? 'absent';
      const isNews = observe(record, container, this.#deps.bootId, now()) !== record;
      if (isNews || record.removing || nextStep(record, container) !== 'none') await this.#converge(id);
    }
  }

  /** Stops taking wishes, kills running commands and lets work under way finish. Sandboxes live on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    this.#idle[Symbol.dispose]();
    await Promise.all([...this.#execs].map((events) => events.return?.()));
    await this.#queue.idle();
  }

  /** @param known the container's status where the caller has just learnt it. */
  #converge(id: string, known?: ContainerStatus): Promise<void> {
    return this.#queue.run(id, async () => {
      const record = this.#records.get(id);
      if (!record) return;
      const runtime = await this.#runtime();
      if (record.removing) return this.#finishRemoval(runtime, id);
      await this.#step(runtime, id, known ?? (await runtime.state(id)));
    });
  }

  async #step(runtime: Runtime, id: string, container: ContainerStatus): Promise<void> {
    for (let taken = 0; taken < MAX_STEPS; taken++) {
      const record = observe(this.#record(id), container, this.#deps.bootId, now());
      await this.#save(id, record);
      const step = nextStep(record, container);
      if (step === 'none') return;
      try {
        container = await this.#take(runtime, record, step);
      } catch (error) {
        const reason = error instanceof RookeryError ? error.message : 'the host failed, see the log of its agent';
        this.#deps.log.warn({ sandboxId: id, step, err: error }, 'a step with a sandbox failed');
        const current = this.#record(id);
        await this.#save(
          id,
          step === 'create' ? failed(current, reason, causeOf(error)) : { ...current, statusReason: reason },
        );
        return;
      }
    }
    this.#deps.log.error({ sandboxId: id }, 'a sandbox does not become what is wanted');
  }

  async #take(
    runtime: Runtime,
    record: SandboxRecord,
    step: 'create' | 'discard' | 'pause' | 'resume',
  ): Promise<ContainerStatus> {
    const { id } = record.spec;
    this.#deps.log.debug({ sandboxId: id, step }, 'taking a step with a sandbox');
    switch (step) {
      case 'create':
        await runtime.create(record.spec);
        return 'running';
      case 'discard':
        await runtime.discard(id);
        return 'absent';
      case 'pause':
        await runtime.pause(id);
        return 'paused';
      case 'resume':
        await runtime.resume(id);
        return 'running';
    }
  }

  async #finishRemoval(runtime: Runtime, id: string): Promise<void> {
    await runtime.remove(id);
    await this.#deps.store.delete(id);
    this.#records.delete(id);
    this.#damaged.delete(id);
    this.#activity.delete(id);
    this.#idle.forget(id);
    this.#changed(id);
    this.#deps.log.info({ sandboxId: id }, 'sandbox removed');
  }

  /** All containers; undefined when they cannot be looked at. */
  async #look(): Promise<ReadonlyMap<string, ContainerStatus> | undefined> {
    try {
      const { runtime } = await this.#deps.finder.find();
      return await runtime?.list();
    } catch (err) {
      this.#deps.log.warn({ err }, 'the containers could not be looked at');
      return undefined;
    }
  }

  /** Makes a record of a sandbox whose own is damaged out of what its container is. */
  async #recover(id: string, containers: ReadonlyMap<string, ContainerStatus> | undefined): Promise<void> {
    // Any other file is not a sandbox's, and control takes no list in which there is what cannot be one.
    if (!UUID.test(id) && !containers?.has(id)) return;
    const record = recovered(id, containers && (containers.get(id) ?? 'absent'), this.#deps.bootId);
    this.#damaged.add(id);
    this.#keep(id, record);
    this.#deps.epoch.advance();
    await this.#deps.store.save(record).catch(this.#logFailure(id));
  }

  async #adopt(containers: ReadonlyMap<string, ContainerStatus>): Promise<void> {
    const { runtime } = await this.#deps.finder.find();
    if (!runtime) return;
    const strays = [...containers.keys()].filter((id) => !this.#deps.store.has(id));
    await Promise.all(strays.map((id) => this.#removeStray(runtime, id)));
    // Not awaited: a host with work to do is online meanwhile.
    for (const id of this.#records.keys()) {
      const container = containers.get(id) ?? 'absent';
      // Before any wish for this sandbox: they wait for each other.
      void this.#queue.run(id, () => runtime.endAbandonedExecs(id)).catch(this.#logFailure(id));
      void this.#converge(id, container).catch(this.#logFailure(id));
    }
  }

  async #removeStray(runtime: Runtime, id: string): Promise<void> {
    this.#deps.log.warn({ sandboxId: id }, 'removing a container that nobody has a record of');
    await runtime.remove(id).catch(this.#logFailure(id));
  }

  async #applyPolicy(id: string, change: PolicyChange): Promise<void> {
    const record = this.#records.get(id);
    const next = record && change(record);
    if (!next || next === record) return;
    await this.#save(id, next);
    const runtime = await this.#runtime();
    await this.#step(runtime, id, await runtime.state(id));
  }

  #keep(id: string, record: SandboxRecord): void {
    this.#records.set(id, record);
    this.#idle.take(record);
  }

  async #save(id: string, record: SandboxRecord): Promise<void> {
    const before = this.#records.get(id);
    if (before === record) return;
    await this.#deps.store.save({ ...record, lastActiveAt: this.#activity.get(id) ?? record.lastActiveAt });
    this.#keep(id, record);
    if (before?.status !== record.status) {
      this.#deps.log.info(
        { sandboxId: id, status: record.status, statusReason: record.statusReason, generation: record.generation },
        'sandbox status',
      );
    }
    this.#changed(id);
  }

  /** Notes activity; it reaches the disk with the next change of status, because a write per command is too much for it. */
  #touch(id: string): void {
    if (!this.#records.has(id)) return;
    this.#activity.set(id, now());
    this.#changed(id);
  }

  #observed(record: SandboxRecord): ObservedSandbox {
    return { ...observed(record), lastActiveAt: this.#activity.get(record.spec.id) ?? record.lastActiveAt };
  }

  #changed(id: string): void {
    this.#deps.epoch.advance();
    this.#deps.onChange(id);
  }

  async #runtime(): Promise<Runtime> {
    const finding = await this.#deps.finder.find();
    if (!finding.runtime) throw new RookeryError('UNAVAILABLE', finding.problem);
    return finding.runtime;
  }

  #record(id: string): SandboxRecord {
    const record = this.#records.get(id);
    if (!record) throw new RookeryError('NOT_FOUND', 'There is no such sandbox on this host.');
    return record;
  }

  #refuseWhenClosing(): void {
    if (this.#closing) throw new RookeryError('UNAVAILABLE', 'The agent is stopping.');
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      void this.observeAll()
        .catch((err: unknown) => this.#deps.log.warn({ err }, 'the containers could not be looked at'))
        .finally(() => {
          if (!this.#closing) this.#schedule();
        });
    }, OBSERVE_PERIOD_MS);
  }

  #logFailure(sandboxId: string): (err: unknown) => void {
    return (err) => this.#deps.log.warn({ sandboxId, err }, 'work on a sandbox failed and will be tried again');
  }
}

/** A template that is not here, for example, is not here on another host either, as far as this one can tell. */
const causeOf = (error: unknown): ErrorCause =>
  error instanceof RookeryError && error.code === 'BAD_USER_INPUT' ? 'SANDBOX' : 'HOST';

const now = (): string => new Date().toISOString();
