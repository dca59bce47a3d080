import { useEffect, useRef } from "preact/hooks";
import { post } from "../api/client.ts";
import { Dialog } from "./dialog.tsx";
import { Failure } from "./notice.tsx";
import { useResource } from "./resource.ts";
import { formatTime } from "../format.ts";
import { t } from "../text/index.ts";
import { CopyButton } from "./copy.tsx";

/** A link that opens one image for anyone who has it, until it expires. */
export function ShareDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  const { value, error, reload } = useResource((signal) => post("/api/v1/files/{id}/link", { path: { id }, body: {}, signal }), [id]);
  useEffect(() => field.current?.select(), [value]);
  const address = value && new URL(value.url, window.location.href).href;
  return (
    <Dialog title={t.chat.share} onClose={onClose}>
      <p class="muted">{t.chat.shareHint}</p>
      {error !== undefined && <Failure error={error} onRetry={reload} />}
      {error === undefined && (
        <div class="row">
          <input ref={field} class="grow" readOnly aria-label={t.chat.shareLink} value={address ?? t.shell.loading} onFocus={(event) => event.currentTarget.select()} />
          {address !== undefined && <CopyButton text={address} label={t.shell.copy} />}
        </div>
      )}
      {value && <small>{t.chat.shareUntil(formatTime(value.expires_at))}</small>}
    </Dialog>
  );
}
