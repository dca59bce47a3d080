//! nginx between client and upstream: what a proxy costs that reads nothing.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Clock ticks in a second, the unit of `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;
/// Connection attempts until nginx listens.
const ATTEMPTS: u32 = 200;

/// A running nginx. Dropping it stops its processes.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Nginx {
    /// Starts it with a worker for each processor and connections to the upstream that stay open. `None` if it is
    /// not installed.
    pub(crate) fn start(directory: &Path, upstream: SocketAddr) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let path = directory.display();
        let configuration = format!(
            "daemon off; worker_processes auto; pid {path}/nginx.pid; error_log {path}/nginx.log crit;
            events {{ worker_connections 1024; }}
            http {{
                access_log off;
                client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
                fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
                keepalive_requests 1000000;
                upstream images {{ server {upstream}; keepalive 128; keepalive_requests 1000000; }}
                server {{
                    listen {address};
                    location / {{
                        proxy_pass http://images;
                        proxy_http_version 1.1;
                        proxy_set_header Connection \"\";
                    }}
                }}
            }}"
        );
        let file = directory.join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let nginx = Self { address, child };
        for _ in 0..ATTEMPTS {
            if TcpStream::connect(address).is_ok() {
                return Some(nginx);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen: see {path}/nginx.log");
    }

    /// CPU time of its workers so far, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> f64 {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().map(process_cpu_ms).sum()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers stop with it, unlike after a kill.
        let stop = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        stop.unwrap();
        self.child.wait().unwrap();
    }
}

fn process_cpu_ms(id: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) * 1e3 / TICKS_PER_SECOND
}
