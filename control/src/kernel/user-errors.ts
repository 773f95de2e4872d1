/**
 * Failures that a caller is expected to handle: members of the mutations' result unions, so that
 * they can be told apart by type. Each becomes a GraphQL type of the same name.
 */
export class UserError extends Error {
  readonly code: string;
  /** Where in the input the trouble is: `['input', 'name']`. */
  readonly path: readonly string[] | null;

  constructor(code: string, message: string, path: readonly string[] | null = null) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.path = path;
  }
}

export class InvalidInput extends UserError {
  constructor(message: string, path: readonly string[] | null = null) {
    super('INVALID_INPUT', message, path);
  }
}

/** It does not exist, or the viewer may not know that it does. */
export class NotFound extends UserError {
  constructor(what: string) {
    super('NOT_FOUND', `There is no such ${what}.`);
  }
}

/** The viewer may see the thing but not do this to it. */
export class NotPermitted extends UserError {
  constructor(action: string) {
    super('NOT_PERMITTED', `Your role does not allow ${action}.`);
  }
}

/** The idempotency key was used before, for something else. */
export class IdempotencyKeyReused extends UserError {
  constructor() {
    super('IDEMPOTENCY_KEY_REUSED', 'This idempotency key was used for a different request.', [
      'input',
      'idempotencyKey',
    ]);
  }
}

export class NameTaken extends UserError {
  constructor(what: string, name: string) {
    super('NAME_TAKEN', `There is already a ${what} called "${name}".`, ['input', 'name']);
  }
}
