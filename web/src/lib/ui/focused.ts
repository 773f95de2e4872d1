/** An attachment: takes the keyboard's focus when it appears, in place of what it has replaced. */
export function focused(element: Element): void {
  if (element instanceof HTMLElement) element.focus();
}
