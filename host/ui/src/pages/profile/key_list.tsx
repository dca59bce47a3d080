import { useState } from "preact/hooks";
import { get, post, remove } from "../../api/client.ts";
import type { KeyEntry } from "../../api/types.ts";
import { Confirm } from "../../components/confirm.tsx";
import { CopyButton } from "../../components/copy.tsx";
import { Dialog } from "../../components/dialog.tsx";
import { Field } from "../../components/field.tsx";
import { Form } from "../../components/form.tsx";
import { Failure, Trouble } from "../../components/notice.tsx";
import { useAction, useResource } from "../../components/resource.ts";
import { Section } from "../../components/section.tsx";
import { Skeleton } from "../../components/skeleton.tsx";
import { formatAgo, formatDay } from "../../format.ts";
import { IconPlus } from "../../icons.ts";
import { t } from "../../text/index.ts";

interface KeyListProps {
  /** Without it, the keys are the person's own: only they can create some. */
  userId?: string;
}

const DAY_SECS = 86_400;

/** API keys, each with a name, a time at which it expires, and its last use. */
export function KeyList({ userId }: KeyListProps) {
  const keys = useResource(
    (signal) => (userId === undefined ? get("/api/v1/auths/keys", { signal }) : get("/api/v1/users/{id}/keys", { path: { id: userId }, signal })),
    [userId],
  );
  const [isCreating, setCreating] = useState(false);
  const [revoked, setRevoked] = useState<KeyEntry | undefined>();
  const revoke = async ({ id }: KeyEntry) => {
    if (userId === undefined) await remove("/api/v1/auths/keys/{id}", { path: { id } });
    else await remove("/api/v1/users/{id}/keys/{key_id}", { path: { id: userId, key_id: id } });
    keys.reload();
  };
  const create = (
    <button type="button" onClick={() => setCreating(true)}>
      <IconPlus aria-hidden="true" />
      {t.people.newKey}
    </button>
  );
  return (
    <Section title={t.people.keys} hint={t.people.keysHint} actions={userId === undefined && create}>
      {keys.error !== undefined && <Failure error={keys.error} onRetry={keys.reload} />}
      {!keys.value && keys.isLoading && <Skeleton />}
      {keys.value?.length === 0 && <p class="muted">{t.people.noKeys}</p>}
      {keys.value && keys.value.length > 0 && <KeyTable keys={keys.value} onRevoke={setRevoked} />}
      {isCreating && (
        <NewKeyDialog
          onClose={() => {
            setCreating(false);
            keys.reload();
          }}
        />
      )}
      {revoked && (
        <Confirm title={t.people.revokeTitle(nameOf(revoked))} label={t.people.revoke} isDanger onConfirm={() => revoke(revoked)} onClose={() => setRevoked(undefined)}>
          <p>{t.people.revokeHint}</p>
        </Confirm>
      )}
    </Section>
  );
}

function KeyTable({ keys, onRevoke }: { keys: readonly KeyEntry[]; onRevoke: (key: KeyEntry) => void }) {
  return (
    <table>
      <thead>
        <tr>
          <th>{t.people.keyName}</th>
          <th class="wide-only">{t.people.keyPrefix}</th>
          <th class="wide-only">{t.people.created}</th>
          <th>{t.people.lastUsed}</th>
          <th class="wide-only">{t.people.expires}</th>
          <th>
            <span class="visually-hidden">{t.people.actions}</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {keys.map((key) => (
          <tr key={key.id}>
            <td dir="auto" class="wrap">
              {nameOf(key)}
            </td>
            <td class="wide-only">
              <code>{key.prefix}</code>
            </td>
            <td class="wide-only">{formatDay(key.created_at)}</td>
            <td>{key.last_used_at === null ? t.people.never : formatAgo(key.last_used_at)}</td>
            <td class="wide-only">{key.expires_at === null ? t.people.never : formatDay(key.expires_at)}</td>
            <td class="number">
              <button type="button" class="quiet small" aria-label={t.people.revokeNamed(nameOf(key))} onClick={() => onRevoke(key)}>
                {t.people.revoke}
              </button>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Keys of Open WebUI's API and the first key of a server have no name. */
function nameOf({ name }: KeyEntry): string {
  return name || t.people.unnamedKey;
}

function NewKeyDialog({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [days, setDays] = useState("");
  const [created, setCreated] = useState<string | undefined>();
  const create = useAction(async () => {
    const lifetime = Number(days);
    const expiresAt = lifetime > 0 ? { expires_at: Math.floor(Date.now() / 1000) + lifetime * DAY_SECS } : {};
    setCreated((await post("/api/v1/auths/keys", { body: { name, ...expiresAt } })).key);
  });
  if (created !== undefined) {
    return (
      <Dialog
        title={t.people.keyCreated}
        onClose={onClose}
        foot={
          <button type="button" class="primary" onClick={onClose}>
            {t.people.done}
          </button>
        }
      >
        <p>{t.people.keyOnce}</p>
        <div class="row card">
          <code class="grow wrap">{created}</code>
          <CopyButton text={created} class="small">
            {t.shell.copy}
          </CopyButton>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog
      title={t.people.newKey}
      onClose={onClose}
      foot={
        <>
          <button type="button" class="quiet" onClick={onClose}>
            {t.shell.cancel}
          </button>
          <button type="submit" form="new-key" class="primary" disabled={create.isRunning}>
            {t.people.createKey}
          </button>
        </>
      }
    >
      <Form id="new-key" onSubmit={create.run}>
        <Field label={t.people.keyName} hint={t.people.keyNameHint}>
          <input required maxLength={100} value={name} autofocus onInput={(event) => setName(event.currentTarget.value)} />
        </Field>
        <Field label={t.people.expires}>
          <select value={days} onChange={(event) => setDays(event.currentTarget.value)}>
            <option value="">{t.people.never}</option>
            {[7, 30, 90, 365].map((it) => (
              <option key={it} value={it}>
                {t.people.inDays(it)}
              </option>
            ))}
          </select>
        </Field>
        <Trouble error={create.error} />
      </Form>
    </Dialog>
  );
}
