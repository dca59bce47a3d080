import { useEffect } from "preact/hooks";

/** Time between two requests for figures of jobs that run, in milliseconds. */
const REFRESH_MS = 5_000;

/** Calls `reload` when the page is shown again, and regularly while something runs and the page is visible. */
export function useLive(reload: () => void, isBusy: boolean): void {
  useEffect(() => {
    const onShow = () => {
      if (!document.hidden) reload();
    };
    document.addEventListener("visibilitychange", onShow);
    const timer = isBusy ? setInterval(onShow, REFRESH_MS) : undefined;
    return () => {
      document.removeEventListener("visibilitychange", onShow);
      clearInterval(timer);
    };
  }, [reload, isBusy]);
}
