// Groups: what their members may do.
import { useState } from "preact/hooks";
import { get, post, remove } from "../../../api/client.ts";
import type { Group } from "../../../api/types.ts";
import { Confirm } from "../../../components/confirm.tsx";
import { Dialog } from "../../../components/dialog.tsx";
import { Field } from "../../../components/field.tsx";
import { Form } from "../../../components/form.tsx";
import { Empty, Failure, Trouble } from "../../../components/notice.tsx";
import { Page } from "../../../components/page.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { formatNumber } from "../../../format.ts";
import { IconPlus } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { MemberList } from "./member_list.tsx";

export { Aside } from "../aside.tsx";

export default function GroupsPage() {
  const groups = useResource((signal) => get("/api/v1/groups/", { signal }), []);
  const [edited, setEdited] = useState<Group | "new" | undefined>();
  const create = (
    <button type="button" class="primary" onClick={() => setEdited("new")}>
      <IconPlus aria-hidden="true" />
      <span>{t.people.newGroup}</span>
    </button>
  );
  return (
    <Page title={t.people.groups} actions={create}>
      <div class="sheet">
        <EveryonePermission />
        {groups.error !== undefined && <Failure error={groups.error} onRetry={groups.reload} />}
        {!groups.value && groups.isLoading && <Skeleton class="tall" />}
        {groups.value?.length === 0 && <Empty title={t.people.noGroups}>{t.people.noGroupsHint}</Empty>}
        {groups.value && groups.value.length > 0 && <GroupTable groups={groups.value} onEdit={setEdited} />}
      </div>
      {edited && (
        <GroupDialog
          group={edited === "new" ? undefined : edited}
          onClose={() => {
            setEdited(undefined);
            groups.reload();
          }}
        />
      )}
    </Page>
  );
}

/** The permission of all users, which a group adds to. */
function EveryonePermission() {
  const path = "/api/v1/users/default/permissions";
  const permissions = useResource((signal) => get(path, { signal }), []);
  const change = useAction(async (value: boolean) => {
    permissions.set({ features: { image_generation: value } });
    try {
      await post(path, { body: { features: { image_generation: value } } });
    } finally {
      permissions.reload();
    }
  });
  if (!permissions.value) return null;
  return (
    <div class="stack tight">
      <label class="check">
        <input type="checkbox" checked={permissions.value.features.image_generation} onChange={(event) => void change.run(event.currentTarget.checked)} />
        {t.people.everyoneCreates}
      </label>
      <Trouble error={change.error} />
    </div>
  );
}

function GroupTable({ groups, onEdit }: { groups: readonly Group[]; onEdit: (group: Group) => void }) {
  return (
    <table>
      <thead>
        <tr>
          <th>{t.people.name}</th>
          <th class="wide-only">{t.people.mayCreate}</th>
          <th class="number">{t.people.members}</th>
          <th>
            <span class="visually-hidden">{t.people.actions}</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {groups.map((group) => (
          <tr key={group.id}>
            <td class="wrap" dir="auto">
              <strong>{group.name}</strong>
              {group.description && (
                <>
                  <br />
                  <small>{group.description}</small>
                </>
              )}
            </td>
            <td class="wide-only">{group.permissions.features.image_generation ? t.people.yes : t.people.no}</td>
            <td class="number">{formatNumber(group.member_count)}</td>
            <td class="number">
              <button type="button" class="small" aria-label={t.people.editNamed(group.name)} onClick={() => onEdit(group)}>
                {t.people.edit}
              </button>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function GroupDialog({ group, onClose }: { group: Group | undefined; onClose: () => void }) {
  const [name, setName] = useState(group?.name ?? "");
  const [description, setDescription] = useState(group?.description ?? "");
  const [mayCreate, setMayCreate] = useState(group?.permissions.features.image_generation ?? true);
  const path = { id: group?.id ?? "" };
  const save = useAction(async () => {
    const body = { name, description, permissions: { features: { image_generation: mayCreate } } };
    await (group ? post("/api/v1/groups/id/{id}/update", { path, body }) : post("/api/v1/groups/create", { body }));
    onClose();
  });
  const [isDeleting, setDeleting] = useState(false);
  const deleteGroup = async () => {
    await remove("/api/v1/groups/id/{id}/delete", { path });
    onClose();
  };
  return (
    <Dialog
      title={group ? t.people.editNamed(group.name) : t.people.newGroup}
      onClose={onClose}
      foot={
        <>
          {group && (
            <button type="button" class="quiet danger" onClick={() => setDeleting(true)}>
              {t.people.deleteGroup}
            </button>
          )}
          <button type="submit" form="group" class="primary" disabled={save.isRunning}>
            {t.shell.save}
          </button>
        </>
      }
    >
      <Form id="group" onSubmit={save.run}>
        <Field label={t.people.name}>
          <input required maxLength={200} value={name} dir="auto" autofocus onInput={(event) => setName(event.currentTarget.value)} />
        </Field>
        <Field label={t.people.description}>
          <textarea rows={2} maxLength={2000} value={description} dir="auto" onInput={(event) => setDescription(event.currentTarget.value)} />
        </Field>
        <label class="check">
          <input type="checkbox" checked={mayCreate} onChange={(event) => setMayCreate(event.currentTarget.checked)} />
          {t.people.mayCreate}
        </label>
        <Trouble error={save.error} />
      </Form>
      {group && <MemberList group={group} />}
      {group && isDeleting && (
        <Confirm title={t.people.deleteTitle(group.name)} label={t.people.deleteGroup} isDanger onConfirm={deleteGroup} onClose={() => setDeleting(false)}>
          <p>{t.people.deleteGroupHint}</p>
        </Confirm>
      )}
    </Dialog>
  );
}
