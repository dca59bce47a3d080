import { useCallback, useRef, useState } from "preact/hooks";
import { read, write } from "../../preferences.ts";
import { user } from "../../session.ts";
import { parseForm, type CreateForm } from "./form_state.ts";

interface FormState {
  form: CreateForm;
  set: (changes: Partial<CreateForm>) => void;
  /** Replaces what was entered; `undo` brings it back until something else is entered. */
  replace: (next: (form: CreateForm) => CreateForm) => void;
  undo: (() => void) | undefined;
}

/** What is entered on the page. It survives navigation and reloads. */
export function useForm(): FormState {
  const name = `create.${user.value?.id ?? ""}`;
  const [form, setForm] = useState(() => parseForm(read(name)));
  const [before, setBefore] = useState<CreateForm | undefined>();
  const newest = useRef(form);
  const update = useCallback((next: CreateForm) => {
    newest.current = next;
    setForm(next);
    write(name, JSON.stringify(next));
  }, [name]);
  const set = useCallback((changes: Partial<CreateForm>) => {
    setBefore(undefined);
    update({ ...newest.current, ...changes });
  }, [update]);
  const replace = useCallback((next: (form: CreateForm) => CreateForm) => {
    setBefore(newest.current.prompt.trim() === "" ? undefined : newest.current);
    update(next(newest.current));
  }, [update]);
  const undo = before && (() => {
    setBefore(undefined);
    update(before);
  });
  return { form, set, replace, undo };
}
