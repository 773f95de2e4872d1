/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
/** Something about the machine that people should know, with the command that mends it. */
export type AgentConditionInput = {
  readonly message: string;
  readonly type: AgentConditionType;
};

export type AgentConditionType =
  | 'DISK_PRESSURE'
  | 'MEMORY_PRESSURE'
  | 'NO_RUNTIME'
  | 'SANDBOX_RECORD_DAMAGED';

/** HOST: another host may do better. SANDBOX: what was asked for cannot be had. */
export type ErrorCause =
  | 'HOST'
  | 'SANDBOX';

export type HeartbeatInput = {
  readonly diskUsedMb: number;
  /** The agent process, as in `Inventory` of the tunnel. */
  readonly instance: string;
  /** SHA-256 (hex) over the lines "id generation status\n" of all sandboxes, sorted by id. */
  readonly inventoryDigest: string;
  /** One-minute load average. */
  readonly load1: number;
  readonly memoryUsedMb: number;
  readonly sandboxCount: number;
  readonly specs: HostSpecsInput;
};

/** What the agent says about its machine. */
export type HostSpecsInput = {
  readonly agentVersion: string;
  readonly arch: string;
  readonly availabilityZone?: string | null | undefined;
  readonly bootId: string;
  readonly conditions: ReadonlyArray<AgentConditionInput>;
  readonly cpuCores: number;
  readonly diskGb: number;
  readonly hostname: string;
  readonly kernel: string;
  /** The machine’s lasting identity, 64 characters at most; null when it has none that survives a reboot. */
  readonly machineId?: string | null | undefined;
  readonly memoryMb: number;
  readonly os: string;
  /** Where the machine is, when its operator says so. */
  readonly provider?: string | null | undefined;
  /** Null when there is none that works. */
  readonly runtime?: RuntimeInput | null | undefined;
  /** Templates that sandboxes can be made of here; only "host" when not given. */
  readonly templates?: ReadonlyArray<string> | null | undefined;
};

export type LeaveFleetInput = {
  readonly accessToken: string;
  /** Compact JWS (EdDSA) by the host’s key over {"purpose":"leave","token_sha256":base64url(sha256(accessToken))}. */
  readonly proof: string;
};

export type ObservedSandboxInput = {
  /** Paused by the host because it was idle; said until a newer generation acknowledges it. */
  readonly autoPaused?: boolean | null | undefined;
  /** Of ERROR. */
  readonly errorCause?: ErrorCause | null | undefined;
  /** The newest that the agent has carried out. */
  readonly generation: number;
  readonly id: string;
  readonly lastActiveAt?: string | null | undefined;
  readonly startedAt?: string | null | undefined;
  readonly status: ObservedStatus;
  readonly statusReason?: string | null | undefined;
};

export type ObservedStatus =
  | 'ERROR'
  | 'PAUSED'
  | 'RUNNING'
  | 'STARTING'
  | 'STOPPED';

export type RefreshHostCredentialsInput = {
  readonly bootId: string;
  /** As in `HostSpecsInput`. */
  readonly machineId?: string | null | undefined;
  /** Compact JWS (EdDSA) by the host’s key over {"purpose":"refresh","token_sha256":base64url(sha256(refreshToken)),"seq":n}; n is one more than that of the request of this host which was granted last. */
  readonly proof: string;
  readonly refreshToken: string;
};

export type RegisterHostInput = {
  /** The host that this machine is already. The token of another host is refused, and not spent. */
  readonly hostId?: string | null | undefined;
  /** Compact JWS (EdDSA) by that key over {"purpose":"register","token_sha256":base64url(sha256(token)),"seq":n}; n is one more than that of the request of this host which was granted last. */
  readonly proof: string;
  /** Raw Ed25519 public key (32 bytes), base64url. */
  readonly publicKey: string;
  readonly specs: HostSpecsInput;
  readonly token: string;
};

export type ReportSandboxesInput = {
  /** A whole number, up to 2^53. Strictly growing per agent state directory; an older one than the last taken is ignored. */
  readonly epoch: number;
  /** True: this is everything the host has. False: only these changed. */
  readonly full: boolean;
  /** As in `HeartbeatInput`. While another agent has the tunnel, or in quarantine, it is a CONFLICT. */
  readonly instance: string;
  readonly sandboxes: ReadonlyArray<ObservedSandboxInput>;
};

export type RuntimeInput = {
  readonly name: string;
  readonly version: string;
};

export type RegisterHostMutationVariables = Exact<{
  input: RegisterHostInput;
}>;


export type RegisterHostMutation = { readonly credentials: { readonly hostId: string, readonly hostName: string, readonly accessToken: string, readonly accessTokenExpiresInSeconds: number, readonly refreshToken: string, readonly refreshTokenExpiresInSeconds: number, readonly controlKeys: ReadonlyArray<{ readonly kid: string, readonly publicKey: string }> } };

export type RefreshHostCredentialsMutationVariables = Exact<{
  input: RefreshHostCredentialsInput;
}>;


export type RefreshHostCredentialsMutation = { readonly credentials: { readonly hostId: string, readonly hostName: string, readonly accessToken: string, readonly accessTokenExpiresInSeconds: number, readonly refreshToken: string, readonly refreshTokenExpiresInSeconds: number, readonly controlKeys: ReadonlyArray<{ readonly kid: string, readonly publicKey: string }> } };

export type ConfirmCredentialsQueryVariables = Exact<{ [key: string]: never; }>;


export type ConfirmCredentialsQuery = { readonly hostId: string };

export type HeartbeatMutationVariables = Exact<{
  input: HeartbeatInput;
}>;


export type HeartbeatMutation = { readonly heartbeat: { readonly nextHeartbeatMs: number, readonly wantInventory: boolean, readonly reconnectSpreadMs: number } };

export type ReportSandboxesMutationVariables = Exact<{
  input: ReportSandboxesInput;
}>;


export type ReportSandboxesMutation = { readonly reportSandboxes: { readonly epoch: number } };

export type SandboxesToRunQueryVariables = Exact<{
  ids: ReadonlyArray<string> | string;
}>;


export type SandboxesToRunQuery = { readonly sandboxesToRun: ReadonlyArray<string> };

export type LeaveFleetMutationVariables = Exact<{
  input: LeaveFleetInput;
}>;


export type LeaveFleetMutation = { readonly leaveFleet: string };
