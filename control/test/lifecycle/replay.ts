import fc from 'fast-check';

/**
 * Runs a model. `RUNS=n` runs it more or less often; a failure says how to see it again. It is then made smaller,
 * which on a database takes its time and so is not done before somebody looks for it.
 *
 * @param byDefault runs; each on an empty fleet.
 */
export async function runModel<T>(property: fc.IAsyncProperty<T>, byDefault: number): Promise<void> {
  const { RUNS, FC_SEED, FC_PATH } = process.env;
  const details = await fc.check(property, {
    numRuns: Number(RUNS ?? byDefault),
    ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }),
    ...(FC_PATH === undefined ? {} : { path: FC_PATH }),
    endOnFailure: FC_SEED === undefined,
  });
  if (!details.failed) return;
  const message = `Again by FC_SEED=${details.seed} FC_PATH=${details.counterexamplePath}\n${await fc.asyncDefaultReportMessage(details)}`;
  throw new Error(message, { cause: details.errorInstance });
}
