//! Filter chains to try in one Envoy: each is a listener of its own, and careplane is in all of them.

use anyhow::{Context, Result};
use careplane_integration::{Client, Lab, lab::Builder};
use serde_json::{Value, json};

use crate::application::Application;

/// The cluster of the application.
pub const APPLICATION: &str = "application";
/// The same application over HTTP/2: gRPC, and the services that other filters ask.
pub const GRPC: &str = "application-grpc";
/// Two hosts: the first refuses connections, the second is the application.
pub const HALF_DOWN: &str = "half-down";
/// A cluster whose one host refuses connections.
pub const FAILING: &str = "failing";
/// A cluster without hosts.
pub const EMPTY: &str = "empty";
/// A cluster that takes no request.
pub const FULL: &str = "full";

/// A filter chain and its routes.
#[derive(Clone)]
pub struct Chain {
    name: String,
    before: Vec<Value>,
    behind: Vec<Value>,
    routes: Vec<Value>,
    manager: Value,
    virtual_host: Value,
    tracing: Value,
    tracer: Value,
}

// === impl Chain ===

impl Chain {
    /// A chain with careplane, and with all requests going to the application.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            before: Vec::new(),
            behind: Vec::new(),
            routes: Vec::new(),
            manager: json!({}),
            virtual_host: json!({}),
            tracing: json!({}),
            tracer: json!({}),
        }
    }

    /// The name of the listener.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a filter that sees requests before careplane does.
    pub fn before(mut self, filter: Value) -> Self {
        self.before.push(filter);
        self
    }

    /// Adds a filter that sees requests after careplane has let them through.
    pub fn behind(mut self, filter: Value) -> Self {
        self.behind.push(filter);
        self
    }

    /// Adds a route in front of the one to the application.
    pub fn route(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    /// Sets members of the connection manager.
    pub fn manager(mut self, members: &Value) -> Self {
        assign(&mut self.manager, members);
        self
    }

    /// Sets members of the virtual host.
    pub fn virtual_host(mut self, members: &Value) -> Self {
        assign(&mut self.virtual_host, members);
        self
    }

    /// Sets members of the connection manager's tracing, and of its tracer.
    pub fn tracing(mut self, members: &Value, tracer: &Value) -> Self {
        assign(&mut self.tracing, members);
        assign(&mut self.tracer, tracer);
        self
    }

    /// The listener: `gateway` with other filters and routes.
    fn listener(&self, gateway: &Value) -> Value {
        let mut listener = gateway.clone();
        listener["name"] = json!(self.name);
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        manager["stat_prefix"] = json!(self.name);
        assign(manager, &self.manager);
        assign(&mut manager["tracing"], &self.tracing);
        assign(&mut manager["tracing"]["provider"]["typed_config"], &self.tracer);
        if let Some(filters) = manager["http_filters"].as_array_mut() {
            let router = filters.len().saturating_sub(1);
            filters.splice(router..router, self.behind.iter().cloned());
            filters.splice(0..0, self.before.iter().cloned());
        }
        let mut routes = self.routes.clone();
        routes.push(json!({"match": {"prefix": "/"}, "route": {"cluster": APPLICATION, "timeout": "10s"}}));
        manager["route_config"]["validate_clusters"] = json!(false);
        let host = &mut manager["route_config"]["virtual_hosts"][0];
        host["routes"] = json!(routes);
        assign(host, &self.virtual_host);
        listener
    }
}

fn assign(target: &mut Value, members: &Value) {
    for (name, value) in members.as_object().into_iter().flatten() {
        target[name] = value.clone();
    }
}

/// Adds the chains and the clusters that they need.
pub fn with(builder: Builder, application: &Application, chains: &[Chain]) -> Builder {
    let (address, chains) = (application.address(), chains.to_vec());
    builder.patch(move |document| {
        let resources = &mut document["static_resources"];
        let failing = clusters(resources)
            .iter()
            .find(|cluster| cluster["name"] == FAILING)
            .map(|cluster| cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0].clone())
            .expect("the lab has a cluster that refuses connections");
        let socket = json!({"address": address.ip(), "port_value": address.port()});
        let endpoint = json!({"endpoint": {"address": {"socket_address": socket}}});
        let cluster = |name: &str, endpoints: Vec<&Value>| {
            json!({
                "name": name, "type": "STATIC", "connect_timeout": "1s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
            })
        };
        let mut grpc = cluster(GRPC, vec![&endpoint]);
        grpc["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
        let mut full = cluster(FULL, vec![&endpoint]);
        full["circuit_breakers"] = json!({"thresholds": [{"max_pending_requests": 0}]});
        let new = [
            cluster(APPLICATION, vec![&endpoint]),
            grpc,
            cluster(HALF_DOWN, vec![&failing, &endpoint]),
            cluster(EMPTY, Vec::new()),
            full,
        ];
        clusters(resources).extend(new);
        resources["secrets"] = json!([
            {"name": "oauth-token", "generic_secret": {"secret": {"inline_string": "token"}}},
            {"name": "oauth-hmac", "generic_secret": {"secret": {"inline_string": "hmac"}}},
        ]);
        let listeners = resources["listeners"].as_array_mut().expect("listeners");
        let gateway = listeners[0].clone();
        listeners.extend(chains.iter().map(|chain| chain.listener(&gateway)));
    })
}

fn clusters(resources: &mut Value) -> &mut Vec<Value> {
    resources["clusters"].as_array_mut().expect("clusters")
}

/// A cluster of one host, such as a listener of another Envoy.
pub fn cluster_of(name: &str, address: std::net::SocketAddr) -> Value {
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {
            "address": {"socket_address": {"address": address.ip(), "port_value": address.port()}},
        }}]}]},
    })
}

/// A client of the chain.
pub async fn client(lab: &Lab, chain: &str) -> Result<Client> {
    let address = lab.envoy().admin().listener(chain).await?;
    Ok(Client::plain(address.with_context(|| format!("no listener {chain}"))?))
}

/// A filter of Envoy's own: its name in `envoy.filters.http.…`, its type, and the members of its configuration.
pub fn filter(name: &str, kind: &str, config: &Value) -> Value {
    let mut typed = json!({"@type": format!("type.googleapis.com/envoy.extensions.filters.http.{name}.v3.{kind}")});
    assign(&mut typed, config);
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": typed})
}
