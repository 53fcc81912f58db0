//! Opens a service of the mesh on this machine.

use super::cluster::Cluster;
use super::failure::{Code, Failure};
use super::options::Service;
use super::print::Printer;

pub fn run(cluster: &Cluster, service: Service, printer: &Printer) -> Result<(), Failure> {
    let (label, namespace, name, port) = match service {
        Service::Jaeger => ("jaeger", "tracing", "writecarenotes-jaeger-query", 16686),
        Service::Kiali => ("kiali", "monitoring", "kiali", 20001),
        Service::Grafana => ("grafana", "monitoring", "grafana", 3000),
        Service::Prometheus => ("prometheus", "monitoring", "prometheus", 9090),
    };
    if !cluster.exists(&["service", name, "-n", namespace])? {
        let failure = Failure::new(Code::Unreachable, format!("there is no Service {namespace}/{name}"));
        return Err(failure.advise("run apply first"));
    }
    printer.say(label, &format!("http://127.0.0.1:{port}, until Ctrl-C"));
    let (target, ports) = (format!("svc/{name}"), format!("{port}:{port}"));
    let ended = cluster.kubectl(&["-n", namespace, "port-forward", &target, &ports])?;
    let failure = Failure::new(Code::Unreachable, format!("the port-forward ended: {}", ended.last_line()));
    Err(failure.advise(format!("is port {port} taken on this machine?")))
}
