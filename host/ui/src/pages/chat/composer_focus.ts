/** Gives the message's field the focus, with the cursor at the end. */
export function focusComposer(): void {
  requestAnimationFrame(() => {
    const field = document.querySelector<HTMLTextAreaElement>("textarea.message-field");
    field?.focus();
    field?.setSelectionRange(field.value.length, field.value.length);
  });
}
