//! Envoy answers itself, at a high rate, with the headers that an application would get.

use careplane_integration::lab::Builder;
use serde_json::{Value, json};

/// The response header that shows the request header `name`.
pub fn reflected(name: &str) -> String {
    format!("x-reflected-{name}")
}

/// Adds what the application would have got in `names` to each answer.
pub fn reflecting(builder: Builder, names: &'static [&'static str]) -> Builder {
    builder.direct_response().patch(move |document| {
        for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            let add =
                names.iter().map(|name| json!({"header": {"key": reflected(name), "value": format!("%REQ({name})%")}}));
            manager["route_config"]["virtual_hosts"][0]["response_headers_to_add"] = add.collect::<Value>();
        }
    })
}
