//! The upstream of a case: two servers on loopback that follow its script.

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use tokio::net::TcpSocket;

use crate::case::{Case, Script, UpstreamServer};
use crate::case_run::{CaseRun, RequestBody};
use crate::http_reply;
use crate::loopback::{FakeResponse, LoopbackServer, RecordedRequest, RequestHandler};

/// How long tasks may take to finish after the job.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Both servers of a case. Dropping it stops them.
pub(crate) struct ScriptedUpstream {
    pub(crate) run: Arc<CaseRun>,
    servers: Vec<LoopbackServer>,
    /// Bound but not listening: connections to its port are refused.
    _refusing: Option<TcpSocket>,
}

impl ScriptedUpstream {
    /// Starts both servers on free ports. The placeholders `upstream` and `elsewhere` are their URLs.
    pub(crate) async fn start(case: Arc<Case>) -> Result<Self> {
        let refuses_connections = matches!(case.script, Script::RefuseConnections);
        let run = Arc::new(CaseRun::new(case));
        let elsewhere = start_server(&run, UpstreamServer::Elsewhere).await?;
        run.set_placeholder("elsewhere", &elsewhere.url());
        let mut servers = vec![elsewhere];
        let mut refusing = None;
        if refuses_connections {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            run.set_placeholder("upstream", &format!("http://{}", socket.local_addr()?));
            refusing = Some(socket);
        } else {
            let upstream = start_server(&run, UpstreamServer::Upstream).await?;
            run.set_placeholder("upstream", &upstream.url());
            servers.push(upstream);
        }
        Ok(Self {
            run,
            servers,
            _refusing: refusing,
        })
    }

    /// Stops the servers when they have read everything that was sent to them. The host must not
    /// hold connections any more.
    pub(crate) async fn close(mut self) {
        self.run.end_job();
        let servers = std::mem::take(&mut self.servers);
        join_all(servers.into_iter().map(LoopbackServer::close)).await;
        self.run.tasks.close();
        tokio::time::timeout(CLOSE_TIMEOUT, self.run.tasks.wait())
            .await
            .ok();
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.run.job_ended.cancel();
    }
}

async fn start_server(run: &Arc<CaseRun>, server: UpstreamServer) -> Result<LoopbackServer> {
    let handler = ScriptHandler {
        run: run.clone(),
        server,
    };
    Ok(LoopbackServer::bind(handler).await?)
}

/// Responds to requests as the script says.
struct ScriptHandler {
    run: Arc<CaseRun>,
    server: UpstreamServer,
}

impl RequestHandler for ScriptHandler {
    async fn respond(self: Arc<Self>, request: RecordedRequest) -> FakeResponse {
        let exchange = self
            .run
            .record_request(self.server, &request, RequestBody::Complete);
        match exchange {
            Some(index) => http_reply::respond(self.run.clone(), index, &request).await,
            None => FakeResponse::unexpected_request(),
        }
    }

    fn request_aborted(&self, request: RecordedRequest) {
        self.run
            .record_request(self.server, &request, RequestBody::Aborted);
    }
}
