export type ToastTone = 'ok' | 'bad' | 'info';

export interface Toast {
  readonly id: number;
  readonly tone: ToastTone;
  readonly message: string;
}

/** Milliseconds an outcome stays. Failures stay longer: they are read twice. */
const STAY_MS: Record<ToastTone, number> = { ok: 4_000, info: 5_000, bad: 9_000 };

let toasts = $state.raw<readonly Toast[]>([]);
let nextId = 1;

export const toaster = {
  get all(): readonly Toast[] {
    return toasts;
  },
  show(tone: ToastTone, message: string): void {
    const toast: Toast = { id: nextId++, tone, message };
    toasts = [...toasts.slice(-3), toast];
    setTimeout(() => this.dismiss(toast.id), STAY_MS[tone]);
  },
  dismiss(id: number): void {
    toasts = toasts.filter((toast) => toast.id !== id);
  },
};
