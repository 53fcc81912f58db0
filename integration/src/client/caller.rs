//! A caller that keeps its connection open for as long as the server allows.

use anyhow::Result;

use super::{Client, Connection, Request, Response};

/// Sends requests one after another, over one connection until the server ends it.
pub struct Caller {
    client: Client,
    connection: Option<Connection>,
}

impl Caller {
    /// A caller that has not connected yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, connection: None }
    }

    /// Sends `request` and reads the whole answer. After an error the next request gets a new connection.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`] and [`Connection::send`].
    pub async fn send(&mut self, request: Request) -> Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.connect().await?,
        };
        let response = connection.send(request).await?;
        // HTTP/1.1: the server announces that it will close, for example because it drains.
        if response.headers.get("connection").is_none_or(|value| value != "close") {
            self.connection = Some(connection);
        }
        Ok(response)
    }
}
