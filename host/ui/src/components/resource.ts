import { useCallback, useEffect, useRef, useState } from "preact/hooks";

export interface Resource<T> {
  /** The newest value, also while the next one is loaded. */
  value: T | undefined;
  error: unknown;
  isLoading: boolean;
  reload: () => void;
  /** Shows another value at once, such as what a change returned. */
  set: (value: T) => void;
}

/** Loads a value, and again when a dependency changes. A response that comes too late is dropped. */
export function useResource<T>(load: (signal: AbortSignal) => Promise<T>, dependencies: readonly unknown[]): Resource<T> {
  const [state, setState] = useState<{ value: T | undefined; error: unknown; isLoading: boolean }>({
    value: undefined,
    error: undefined,
    isLoading: true,
  });
  const running = useRef<AbortController | undefined>(undefined);
  const reload = useCallback(() => {
    running.current?.abort();
    const controller = new AbortController();
    running.current = controller;
    setState((before) => ({ ...before, isLoading: true }));
    load(controller.signal).then(
      (value) => {
        if (!controller.signal.aborted) setState({ value, error: undefined, isLoading: false });
      },
      (error: unknown) => {
        if (!controller.signal.aborted) setState((before) => ({ ...before, error, isLoading: false }));
      },
    );
  }, dependencies);
  useEffect(() => {
    reload();
    return () => running.current?.abort();
  }, [reload]);
  const set = useCallback((value: T) => setState({ value, error: undefined, isLoading: false }), []);
  return { ...state, reload, set };
}

/** Runs an action of a button: one at a time, with its error. */
export function useAction<A extends unknown[]>(action: (...values: A) => Promise<unknown>) {
  const [state, setState] = useState<{ isRunning: boolean; error: unknown }>({ isRunning: false, error: undefined });
  const isMounted = useRef(true);
  useEffect(() => () => void (isMounted.current = false), []);
  const run = async (...values: A): Promise<boolean> => {
    setState({ isRunning: true, error: undefined });
    try {
      await action(...values);
      if (isMounted.current) setState({ isRunning: false, error: undefined });
      return true;
    } catch (error) {
      if (isMounted.current) setState({ isRunning: false, error });
      return false;
    }
  };
  return { ...state, run, clear: () => setState({ isRunning: false, error: undefined }) };
}
