import { t } from "../../../text/index.ts";
import type { BindingDetails, UpstreamDetails } from "./types.ts";

interface BindingsProps {
  bindings: readonly BindingDetails[];
  /** By binding: the groups that may use it; none means all users. */
  groups: ReadonlyMap<string, string[]>;
}

/** The engine's configurations: where they send requests, what is wrong with them, and who may use them. */
export function Bindings({ bindings, groups }: BindingsProps) {
  return (
    <ul class="binding-list">
      {bindings.map((binding) => (
        <li key={binding.name}>
          <a class="plain" href={`/admin/settings/${encodeURIComponent(binding.name)}`}>
            <strong dir="auto">{binding.name}</strong>
          </a>
          {binding.upstreams.length === 0 && <span class="muted">{t.engines.overview.noUpstream}</span>}
          {binding.upstreams.map((upstream) => (
            <Upstream key={upstream.name} upstream={upstream} />
          ))}
          <Users groups={groups.get(binding.name)} />
          {binding.problems.map((problem) => (
            <p key={problem} class="trouble" dir="auto">
              {problem}
            </p>
          ))}
        </li>
      ))}
    </ul>
  );
}

function Upstream({ upstream }: { upstream: UpstreamDetails }) {
  const { base_url: url, edit_base_url: editUrl } = upstream;
  return (
    <span class="quiet-line">
      <span>{upstream.name}</span>
      {url === null ? <span>{t.engines.overview.noUrl(upstream.variables)}</span> : <code class="wrap">{url}</code>}
      {editUrl !== null && editUrl !== url && (
        <span>
          {t.engines.overview.edits} <code class="wrap">{editUrl}</code>
        </span>
      )}
    </span>
  );
}

function Users({ groups }: { groups: string[] | undefined }) {
  if (groups === undefined) return null;
  return (
    <span class="quiet-line">
      <span>{t.engines.overview.users}</span>
      <span dir="auto">{groups.length === 0 ? t.engines.overview.allUsers : t.admin.list(groups)}</span>
    </span>
  );
}
