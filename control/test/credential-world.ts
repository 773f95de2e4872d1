import type { CredentialState, Refusal } from '@rookery/control/fleet/enrolment/credential.state.ts';

/** Credentials as an agent holds them. */
export interface Held {
  readonly refreshToken: string;
  readonly accessToken: string;
}

export interface Proven {
  readonly key: number;
  readonly sequence: number;
  readonly machineId: string | null;
}

export type Issued =
  | { readonly issued: Held }
  | { readonly refused: Refusal | 'HOST_DELETED' | 'PROOF_INVALID' }
  /** Out of turn. */
  | { readonly lastSequence: number };

/** Control's enrolment of one host: the pure decisions over rows in memory, or the real service. */
export interface ControlSide {
  register(request: Proven & { readonly token: string; readonly claims: boolean }): Promise<Issued>;
  refresh(request: Proven & { readonly refreshToken: string }): Promise<Issued>;
  /** Whether a request with the access token is let in. */
  use(accessToken: string): Promise<boolean>;
  /** A new registration token; undefined when it is refused. */
  regenerate(options: { resolveQuarantine: boolean; replaceCredentials: boolean }): Promise<string | undefined>;
  state(): Promise<CredentialState>;
  /** The refresh tokens that would renew now. */
  live(): Promise<string[]>;
  /** So much time passes that every token which was handed out expires. */
  expire(): Promise<void>;
  deleteHost(): Promise<void>;
}

type Message =
  | { readonly kind: 'register'; readonly body: Parameters<ControlSide['register']>[0] }
  | { readonly kind: 'refresh'; readonly body: Parameters<ControlSide['refresh']>[0] }
  | { readonly kind: 'use'; readonly body: string };

interface InFlight {
  readonly message: Message;
  readonly call: number;
}

/** What is on the disk of a machine. */
export interface Disk {
  readonly saved: Held | undefined;
  readonly lastSequence: number;
}

/** One machine with an agent on it: what is on its disk outlives its process, nothing else does. */
export class AgentModel {
  readonly key: number;
  machineId: string | null;
  disk: Disk = { saved: undefined, lastSequence: 0 };
  /** What control has said last, as far as this process knows. */
  #lastSequence = 0;
  /** What the process has, beyond that. */
  received: (Held & { readonly token: string | undefined }) | undefined;
  /** `token`: what it registers with. */
  outstanding: { readonly call: number; readonly sequence: number; readonly token: string | undefined } | undefined;
  token: string | undefined;
  /** The token that it registered with, as a boot script or a shell's history has it. */
  spentToken: string | undefined;

  constructor(key: number, machineId: string | null) {
    this.key = key;
    this.machineId = machineId;
  }

  get saved(): Held | undefined {
    return this.disk.saved;
  }

  /** The state directory on another machine. */
  copy(machineId: string | null): AgentModel {
    const copy = new AgentModel(this.key, machineId);
    copy.restore(this.disk);
    copy.spentToken = this.spentToken;
    return copy;
  }

  /** The process ends, and the next one finds this on the disk. */
  restore(disk: Disk): void {
    this.disk = disk;
    this.crash();
  }

  prove(): Proven {
    return { key: this.key, sequence: this.#lastSequence + 1, machineId: this.machineId };
  }

  /** The agent goes on from what control says, whatever it thought itself. */
  follow(lastSequence: number): void {
    this.#lastSequence = lastSequence;
  }

  save(saved: Held | undefined): void {
    this.disk = { saved, lastSequence: this.#lastSequence };
  }

  crash(): void {
    this.#lastSequence = this.disk.lastSequence;
    this.received = undefined;
    this.outstanding = undefined;
    this.token = undefined;
  }
}

/** How a delivered request ends. `crash-…`: control dies before or after its commit, and answers nobody. */
export type Delivery = 'answered' | 'crash-before-commit' | 'crash-after-commit';

/** Agents, control and a network that loses, doubles, delays and reorders whatever it likes. */
export class World {
  readonly control: ControlSide;
  /** Requests that may still arrive, each any number of times. */
  readonly requests: InFlight[] = [];
  readonly answers: { readonly call: number; readonly answer: Issued }[] = [];
  /** What an agent was told last. */
  taken: Issued | undefined;
  readonly backups = new Map<AgentModel, Disk>();
  #calls = 0;

  constructor(control: ControlSide) {
    this.control = control;
  }

  /** The agent asks for credentials: with what it has saved, or else with its token. Nothing while it waits for an answer. */
  ask(agent: AgentModel): void {
    if (agent.outstanding !== undefined || agent.received) return;
    const proven = agent.prove();
    if (agent.token !== undefined)
      this.#send(agent, {
        kind: 'register',
        body: { ...proven, token: agent.token, claims: agent.saved !== undefined },
      });
    else if (agent.saved)
      this.#send(agent, { kind: 'refresh', body: { ...proven, refreshToken: agent.saved.refreshToken } });
  }

  /** A heartbeat or any other request with what the agent has saved. */
  use(agent: AgentModel): void {
    if (agent.saved) this.requests.push({ message: { kind: 'use', body: agent.saved.accessToken }, call: -1 });
  }

  /** A request arrives; it stays in flight and may arrive again. @returns what control said, if it said anything. */
  async deliver(index: number, how: Delivery): Promise<Issued | boolean | undefined> {
    const request = this.requests[index];
    if (!request || how === 'crash-before-commit') return undefined;
    const { message, call } = request;
    if (message.kind === 'use') return this.control.use(message.body);
    const answer =
      message.kind === 'register'
        ? await this.control.register(message.body)
        : await this.control.refresh(message.body);
    if (how === 'answered') this.answers.push({ call, answer });
    return answer;
  }

  /** An answer arrives, and counts only for a process that still waits for it. */
  take(index: number, agents: readonly AgentModel[]): void {
    const [taken] = this.answers.splice(index, 1);
    const agent = agents.find(({ outstanding }) => taken && outstanding?.call === taken.call);
    if (!agent?.outstanding || !taken) return;
    const { sequence, token } = agent.outstanding;
    agent.outstanding = undefined;
    this.taken = taken.answer;
    if ('lastSequence' in taken.answer) agent.follow(taken.answer.lastSequence);
    // A token that is no good is forgotten where there are credentials to go on with.
    if ('refused' in taken.answer && agent.saved) agent.token = undefined;
    if (!('issued' in taken.answer)) return;
    agent.received = { ...taken.answer.issued, token };
    agent.follow(sequence);
  }

  /** What was received is on disk, and used only from now on. */
  persist(agent: AgentModel): void {
    if (!agent.received) return;
    const { token, ...held } = agent.received;
    agent.save(held);
    agent.received = undefined;
    agent.spentToken = token ?? agent.spentToken;
    agent.token = undefined;
  }

  /**
   * An exchange on a network that works, as agents do it: out of turn, or with a token that is no good,
   * they come again at once.
   *
   * @returns whether the agent is let in afterwards.
   */
  async exchange(agent: AgentModel): Promise<boolean> {
    agent.outstanding = undefined;
    agent.received = undefined;
    this.taken = undefined;
    for (let tries = 0; tries < 4; tries++) {
      const { token } = agent;
      this.ask(agent);
      await this.deliver(this.requests.length - 1, 'answered');
      this.take(this.answers.length - 1, [agent]);
      if (this.taken && !('lastSequence' in this.taken) && agent.token === token) break;
    }
    this.persist(agent);
    return agent.saved !== undefined && (await this.control.use(agent.saved.accessToken));
  }

  #send(agent: AgentModel, message: Message): void {
    const call = ++this.#calls;
    if (message.kind !== 'use') {
      const token = message.kind === 'register' ? message.body.token : undefined;
      agent.outstanding = { call, sequence: message.body.sequence, token };
    }
    this.requests.push({ message, call });
  }
}

/** One thing that happens; `pick` chooses among what it can happen to. */
export interface Step {
  readonly what: (typeof STEPS)[number];
  readonly pick: number;
}

export const STEPS = [
  'ask',
  'deliver-newest',
  'deliver-any',
  'deliver-and-crash-before-commit',
  'deliver-and-crash-after-commit',
  'take-newest',
  'take-any',
  'give-up',
  'persist',
  'disk-full',
  'use',
  'crash',
  'credentials-file-removed',
  'operator',
  'expire',
  'backup',
  'restore',
] as const;

/** Lets a step happen, to one of the agents. Steps that cannot happen do not. */
export async function happen(world: World, agents: readonly AgentModel[], { what, pick }: Step): Promise<void> {
  const agent = agents[pick % agents.length] as AgentModel;
  const { requests, answers } = world;
  switch (what) {
    case 'ask':
      return world.ask(agent);
    case 'deliver-newest':
      return void (await world.deliver(requests.length - 1, 'answered'));
    case 'deliver-any':
      return void (await world.deliver(pick % Math.max(requests.length, 1), 'answered'));
    case 'deliver-and-crash-before-commit':
      return void (await world.deliver(requests.length - 1, 'crash-before-commit'));
    case 'deliver-and-crash-after-commit':
      return void (await world.deliver(requests.length - 1, 'crash-after-commit'));
    case 'take-newest':
      return world.take(answers.length - 1, agents);
    case 'take-any':
      return world.take(pick % Math.max(answers.length, 1), agents);
    case 'give-up':
      agent.outstanding = undefined;
      return;
    case 'persist':
      return world.persist(agent);
    case 'disk-full':
      agent.received = undefined;
      return;
    case 'use':
      return world.use(agent);
    case 'crash':
      return agent.crash();
    case 'credentials-file-removed':
      // The key and the sequence are files of their own.
      if (agent.spentToken === undefined) return;
      agent.save(undefined);
      agent.crash();
      agent.token = agent.spentToken;
      return;
    case 'expire':
      return world.control.expire();
    case 'backup':
      world.backups.set(agent, agent.disk);
      return;
    case 'restore': {
      const backup = world.backups.get(agent);
      if (backup) agent.restore(backup);
      return;
    }
    case 'operator': {
      const token = await world.control.regenerate({
        resolveQuarantine: false,
        replaceCredentials: pick % 3 === 0,
      });
      if (token !== undefined) agent.token = token;
    }
  }
}
