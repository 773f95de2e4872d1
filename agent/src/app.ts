import { randomUUID } from 'node:crypto';
import { StartupError } from '@rookery/wire/errors.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { ControlChannel } from './channel/control-channel.ts';
import { ReconnectSpread } from './channel/reconnect.ts';
import type { AgentConfig } from './config.ts';
import { CredentialService } from './enrolment/credential.service.ts';
import { CredentialStore, type CredentialStatus } from './enrolment/credential.store.ts';
import { HostKey } from './enrolment/host-key.ts';
import { join } from './enrolment/join.ts';
import type { Registrant } from './enrolment/registration.ts';
import { RequestSequence } from './enrolment/request-sequence.ts';
import { measureHost, readBootId, readMachineId } from './host/host.ts';
import { removeAgentCgroups } from './runtime/cgroup.ts';
import { OciRuntimeFinder, type RuntimeFinder } from './runtime/runtime-finder.ts';
import { ControlLossWatch } from './sandboxes/control-loss.ts';
import { removeAll, removeForGood } from './sandboxes/removal.ts';
import { EpochCounter, SandboxStore } from './sandboxes/sandbox.store.ts';
import { SandboxSupervisor } from './sandboxes/sandbox.supervisor.ts';
import { Tombstones } from './sandboxes/tombstones.ts';
import { createStateDir, lockStateDir, removeUnfinishedWrites } from './state-dir/state-dir.ts';
import { AgentRoot, agentServer } from './tunnel/agent.schema.ts';
import { Tunnel } from './tunnel/tunnel.ts';

/** How long work under way may go on when the agent stops, in ms. */
const DRAIN_MS = 5_000;

/** Sandboxes that a condition names; control keeps some hundred characters of it. */
const MAX_NAMED = 5;

export interface AgentDeps {
  readonly config: AgentConfig;
  readonly log: Logger;
  /** Tells a person at the terminal, in a sentence. */
  readonly say: (sentence: string) => void;
  /** Register when there are no saved credentials; without it, saved ones are required. */
  readonly join?: { readonly controlUrl: string; readonly token: string | undefined };
  /** Ends waiting for a first registration. */
  readonly signal?: AbortSignal;
  /**
   * Has no tunnel, so that nothing new comes to a host that is about to leave, and no policy for the loss
   * of control: what runs goes on, and what is paused stays so.
   */
  readonly isLeaving?: boolean;
  /** Default: the OCI runtimes of this machine. */
  readonly finder?: RuntimeFinder;
  /** Default: this machine, measured. */
  readonly measure?: () => ReturnType<typeof measureHost>;
}

/** A running agent; disposing stops it, and keeps or pauses its sandboxes as configured. */
export interface Agent extends AsyncDisposable {
  readonly hostId: string;
  /** Resolves when control has acknowledged a heartbeat and asked something through the tunnel. */
  readonly online: Promise<void>;
  /** Resolves when control has acknowledged a heartbeat. */
  readonly heard: Promise<void>;
  /** Removes all sandboxes. @returns how many there were. */
  destroySandboxes(): Promise<number>;
  /** Asks control whether the credentials are good; undefined when it says nothing before the signal. */
  askStanding(signal: AbortSignal): Promise<CredentialStatus | undefined>;
  /** Tells control what there is. @throws {ChannelError} when it has not taken it. */
  reportAll(): Promise<void>;
  /** Says goodbye, after which the credentials are worth nothing. @throws {ControlCallError} */
  sayGoodbye(): Promise<void>;
  /**
   * Resolves when control has signed that this host was deleted, its sandboxes are removed and its
   * credentials dropped: there is nothing left to run for.
   */
  readonly deleted: Promise<void>;
}

/**
 * Starts an agent: takes the state directory's lock, registers if need be, takes over sandboxes,
 * then keeps channel and tunnel to control.
 *
 * @throws {StartupError} in one sentence, with nothing left running.
 */
export async function createAgent(deps: AgentDeps): Promise<Agent> {
  const { config, log, say } = deps;
  const parts: AsyncDisposable[] = [];
  /** Disposed in reverse. */
  const own = <T extends AsyncDisposable>(part: T): T => {
    parts.push(part);
    return part;
  };
  const disposeAll = async (): Promise<void> => {
    for (const part of parts.splice(0).reverse()) {
      await Promise.resolve(part[Symbol.asyncDispose]()).catch((err: unknown) =>
        log.error({ err }, 'a part did not stop cleanly'),
      );
    }
  };

  try {
    const state = await createStateDir(config.stateDir);
    own(await lockStateDir(state));
    own({ [Symbol.asyncDispose]: () => removeAgentCgroups(state.instance) });
    await removeUnfinishedWrites(state);
    const finder = deps.finder ?? new OciRuntimeFinder(config, state, log.child({ part: 'runtime' }));
    const measure = deps.measure ?? (async () => measureHost(state.root, await finder.find(), config));

    const store = new CredentialStore(state);
    const bootId = await readBootId();
    const machineId = await readMachineId(config.machineId);
    let made: Promise<Registrant> | undefined;
    const registrant = (): Promise<Registrant> =>
      (made ??= (async () => ({
        key: await HostKey.openOrCreate(state.hostKey),
        sequence: await RequestSequence.open(state.requestSequence),
        bootId,
        machineId,
        specs: async () => (await measure()).specs,
      }))());
    // Never on disk: a copy of everything that is there has another one.
    const instance = randomUUID();
    const supervisorLog = log.child({ part: 'sandboxes' });
    const sandboxes = new SandboxStore(state.sandboxes, supervisorLog);
    const { credentials, spareToken } = await enrol(deps, store, registrant, () => sandboxes.count());
    const enrolment = own(
      new CredentialService({
        initial: credentials,
        initialStatus: await store.loadStatus(),
        registrant: await registrant(),
        store,
        retryCapMs: config.retryCapMs,
        spareToken,
        log: log.child({ part: 'enrolment' }),
      }),
    );

    const epoch = await EpochCounter.open(state.epoch);
    // Declared before the channel that it reports to: the supervisor starts first and stops last.
    let report: (id: string) => void = () => {};
    const supervisor = new SandboxSupervisor({
      store: sandboxes,
      tombstones: await Tombstones.open(state.tombstones),
      epoch,
      finder,
      bootId,
      log: supervisorLog,
      onChange: (id) => report(id),
    });
    await supervisor.start();

    const online = onlineSign();
    const spread = new ReconnectSpread();
    const watch = deps.isLeaving
      ? undefined
      : own(
          new ControlLossWatch({
            graceMs: config.controlLossGraceMs,
            policy: config.controlLoss,
            supervisor,
            toRun: (ids) => channel.toRun(ids),
            log: supervisorLog,
          }),
        );
    const channel: ControlChannel = own(
      new ControlChannel({
        credentials: enrolment,
        measure: async () => withDamage(await measure(), supervisor.damaged),
        inventory: () => supervisor.inventory(),
        instance,
        onAck: () => {
          watch?.heard();
          online.heartbeat();
        },
        exceedEpoch: (known) => epoch.exceed(known),
        spread,
        log: log.child({ part: 'channel' }),
      }),
    );
    report = (id) => channel.reportSoon(id);
    own({ [Symbol.asyncDispose]: () => windDown(supervisor, config, log) });
    const tunnel = deps.isLeaving
      ? undefined
      : own(
          new Tunnel({
            credentials: enrolment,
            server: agentServer(new AgentRoot(supervisor, instance, online.tunnel), log.child({ part: 'tunnel' })),
            identity: { instance, bootId, machineId },
            spread,
            log: log.child({ part: 'tunnel' }),
          }),
        );
    void online.promise.then(() => say('Connected. This host is online.'));
    let forget: (done: Promise<void>) => void = () => {};
    const deleted = new Promise<void>((resolve) => (forget = resolve));
    // Whoever does not wait for it, a test for example, is not to be killed by its failure.
    deleted.catch(() => {});
    const stopping = new AbortController();
    own({ [Symbol.asyncDispose]: async () => stopping.abort() });
    // An agent that is stopped before goes on with it at its next start: the credentials are still there then.
    const giveUp = async (): Promise<void> => {
      await removeForGood(supervisor, config.retryCapMs, stopping.signal, supervisorLog);
      await store.drop();
    };
    // Last, when everything that it may tell is there.
    enrolment.onStatus(({ state: standing }) => {
      if (standing === 'REFUSED' || standing === 'DELETED') {
        watch?.refused();
        channel.hangUp();
        tunnel?.hangUp();
      }
      if (standing === 'ACTIVE') watch?.accepted();
      if (standing === 'DELETED') forget(giveUp());
    });
    return {
      hostId: credentials.hostId,
      online: online.promise,
      deleted,
      heard: online.heard,
      destroySandboxes: () => removeAll(supervisor),
      askStanding: (until) => enrolment.ask(until),
      reportAll: () => channel.reportAll(),
      sayGoodbye: () => enrolment.leave(),
      [Symbol.asyncDispose]: disposeAll,
    };
  } catch (error) {
    await disposeAll();
    throw error;
  }
}

async function enrol(
  { join: wanted, say, log, signal }: AgentDeps,
  store: CredentialStore,
  registrant: () => Promise<Registrant>,
  sandboxes: () => Promise<number>,
) {
  if (!wanted) {
    const saved = await store.load();
    if (!saved) throw new StartupError('This machine is not registered; run: rookery-agent join <url> <token>.');
    say(`Starting as host ${saved.hostName} (${saved.hostId}) of ${saved.controlUrl}.`);
    return { credentials: saved, spareToken: undefined };
  }
  const { credentials, how, problem, isOver } = await join({
    ...wanted,
    store,
    registrant,
    sandboxes,
    log,
    signal: signal ?? new AbortController().signal,
  });
  const { hostName, hostId } = credentials;
  if (problem !== undefined) say(`${problem} Going on with the saved credentials.`);
  say(
    {
      registered: `Registered as host ${hostName} (${hostId}).`,
      recovered: `Registered again as host ${hostName} (${hostId}), with its sandboxes.`,
      moved: `Host ${hostName} (${hostId}) is at ${credentials.controlUrl} from now on.`,
      saved: `Already registered as host ${hostName} (${hostId}); the token is not used.`,
    }[how],
  );
  // One that was just spent, or just refused, mends nothing.
  return { credentials, spareToken: how === 'saved' && !isOver ? wanted.token : undefined };
}

/** Adds to what the machine is that records of sandboxes were found damaged. */
function withDamage(
  measured: Awaited<ReturnType<typeof measureHost>>,
  damaged: readonly string[],
): Awaited<ReturnType<typeof measureHost>> {
  if (damaged.length === 0) return measured;
  const named = damaged.slice(0, MAX_NAMED).join(', ') + (damaged.length > MAX_NAMED ? ', …' : '');
  const message = `The agent found the records of these sandboxes damaged when it started; control has told it anew what they should be, and the disk deserves a look: ${named}.`;
  const { specs, load } = measured;
  return { specs: { ...specs, conditions: [...specs.conditions, { type: 'SANDBOX_RECORD_DAMAGED', message }] }, load };
}

/** Lets work under way finish for a while, and then applies the policy for exits. The channel is still open to report it. */
async function windDown(supervisor: SandboxSupervisor, config: AgentConfig, log: Logger): Promise<void> {
  let deadline: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => (deadline = setTimeout(() => resolve('late'), DRAIN_MS)));
  const drained = supervisor[Symbol.asyncDispose]().then(async () => {
    if (config.onExit === 'pause') await supervisor.holdAll('AGENT_EXIT');
  });
  if ((await Promise.race([drained, late])) === 'late')
    log.warn('stopping although work on sandboxes is still under way');
  clearTimeout(deadline);
}

/** The two signs of being online: control has acknowledged a heartbeat, and has welcomed the tunnel. */
function onlineSign() {
  let heartbeat: () => void = () => {};
  let tunnel: () => void = () => {};
  const heard = new Promise<void>((resolve) => (heartbeat = resolve));
  const reachable = new Promise<void>((resolve) => (tunnel = resolve));
  return { promise: Promise.all([heard, reachable]).then(() => {}), heard, heartbeat, tunnel };
}
