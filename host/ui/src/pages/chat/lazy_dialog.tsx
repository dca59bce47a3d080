import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog } from "../../components/dialog.tsx";
import { Failure } from "../../components/notice.tsx";
import { loadStudio } from "../../studio.ts";
import { t } from "../../text/index.ts";

/** A dialog whose code is loaded when it is opened first. */
export function lazyDialog<P extends { onClose: () => void }>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  let loaded: ComponentType<P> | undefined;
  return function LazyDialog(props: P) {
    const [View, setView] = useState<ComponentType<P> | undefined>(() => loaded);
    const [error, setError] = useState<unknown>();
    const start = () => {
      setError(undefined);
      Promise.all([load(), loadStudio()]).then(
        ([view]) => {
          loaded = view;
          setView(() => view);
        },
        (failure: unknown) => setError(failure),
      );
    };
    useEffect(() => {
      if (!loaded) start();
    }, []);
    if (View) return <View {...props} />;
    if (error === undefined) return null;
    return (
      <Dialog title={t.shell.brokenPage} onClose={props.onClose}>
        <Failure error={error} onRetry={start} />
      </Dialog>
    );
  };
}
