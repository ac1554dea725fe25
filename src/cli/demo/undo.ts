/**
 * What has been made and how it is taken down, in reverse. Each step has a patient way and one for a process that
 * ends now, so that neither an error halfway nor a lost terminal leaves anything behind.
 */

export class Undo {
  #steps: { patient: () => Promise<void>; now: () => void }[] = [];

  push(patient: () => Promise<void>, now: () => void): void {
    this.#steps.push({ patient, now });
  }

  /** A step that fails does not keep the others from being done; the first failure is thrown at the end. */
  async all(): Promise<void> {
    let failure: unknown;
    for (let step = this.#steps.at(-1); step !== undefined; step = this.#steps.at(-1)) {
      await step.patient().catch((error: unknown) => {
        failure ??= error;
      });
      this.#steps.pop();
    }
    if (failure !== undefined) throw failure;
  }

  now(): void {
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        step.now();
      } catch {
        // The process is ending: the rest counts more than the reason.
      }
    }
  }
}
