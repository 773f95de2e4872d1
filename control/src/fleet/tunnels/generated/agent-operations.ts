/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type DesiredSandboxState =
  | 'PAUSED'
  | 'RUNNING';

export type EnvVarInput = {
  readonly name: string;
  readonly value: string;
};

/** HOST: another host may do better. SANDBOX: what was asked for cannot be had. */
export type ErrorCause =
  | 'HOST'
  | 'SANDBOX';

export type ExecEventKind =
  | 'EXIT'
  /** The command has begun; once, before everything else. */
  | 'STARTED'
  | 'STDERR'
  | 'STDOUT';

export type ExecInput = {
  readonly command: ReadonlyArray<string>;
  readonly cwd?: string | null | undefined;
  readonly env?: ReadonlyArray<EnvVarInput> | null | undefined;
  /** Per stream; the rest is dropped and `truncated` set. Without it nothing is dropped. */
  readonly maxOutputBytes?: number | null | undefined;
  readonly sandboxId: string;
  readonly stdin?: string | null | undefined;
  /** Names the stream to `acknowledgeStream`; made up by control. */
  readonly streamId?: string | null | undefined;
  readonly timeoutMs: number;
  /** Output that may be under way without having been acknowledged, in bytes; then the command has to wait. */
  readonly windowBytes?: number | null | undefined;
};

export type ObservedStatus =
  | 'ERROR'
  | 'PAUSED'
  | 'RUNNING'
  | 'STARTING'
  | 'STOPPED';

export type SandboxSpecInput = {
  readonly desiredState: DesiredSandboxState;
  readonly diskMb: number;
  readonly id: string;
  readonly memoryMb: number;
  readonly name: string;
  readonly template: string;
  /** Pause it after this many seconds without a command; never when it is not given. */
  readonly timeoutSeconds?: number | null | undefined;
  readonly vcpus: number;
};

export type InventoryQueryVariables = Exact<{ [key: string]: never; }>;


export type InventoryQuery = { readonly inventory: { readonly epoch: number, readonly sandboxes: ReadonlyArray<{ readonly id: string, readonly generation: number, readonly epoch: number, readonly status: ObservedStatus, readonly statusReason: string | null, readonly startedAt: string | null, readonly lastActiveAt: string | null, readonly autoPaused: boolean | null, readonly errorCause: ErrorCause | null }> } };

export type IdentityQueryVariables = Exact<{ [key: string]: never; }>;


export type IdentityQuery = { readonly inventory: { readonly instance: string, readonly bootId: string } };

export type WelcomeMutationVariables = Exact<{ [key: string]: never; }>;


export type WelcomeMutation = { readonly welcome: boolean };

export type ApplySandboxMutationVariables = Exact<{
  spec: SandboxSpecInput;
  generation: number;
}>;


export type ApplySandboxMutation = { readonly applySandbox: { readonly id: string, readonly generation: number, readonly epoch: number, readonly status: ObservedStatus, readonly statusReason: string | null, readonly startedAt: string | null, readonly lastActiveAt: string | null, readonly autoPaused: boolean | null, readonly errorCause: ErrorCause | null } };

export type RemoveSandboxMutationVariables = Exact<{
  id: string;
  generation: number;
}>;


export type RemoveSandboxMutation = { readonly removeSandbox: { readonly id: string, readonly existed: boolean } };

export type ExecSubscriptionVariables = Exact<{
  input: ExecInput;
}>;


export type ExecSubscription = { readonly exec: { readonly kind: ExecEventKind, readonly data: string | null, readonly exitCode: number | null, readonly signal: string | null, readonly timedOut: boolean | null, readonly truncated: boolean | null } };

export type AcknowledgeStreamMutationVariables = Exact<{
  streamId: string;
  consumedBytes: number;
}>;


export type AcknowledgeStreamMutation = { readonly acknowledgeStream: boolean };
