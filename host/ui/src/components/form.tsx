import type { FormHTMLAttributes } from "preact";

interface FormProps extends Omit<FormHTMLAttributes<HTMLFormElement>, "onSubmit"> {
  onSubmit: (fields: FormData) => unknown;
}

/** A form that is sent by script: the page stays. */
export function Form({ onSubmit, class: name = "stack", ...attributes }: FormProps) {
  const submit = (event: SubmitEvent & { currentTarget: HTMLFormElement }) => {
    event.preventDefault();
    onSubmit(new FormData(event.currentTarget));
  };
  return <form {...attributes} class={name} onSubmit={submit} />;
}
