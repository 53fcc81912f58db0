//! A page in a browser of its own, over the Chrome DevTools Protocol.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Where pictures of the pages are put, for somebody to look at; nowhere unless it is set.
const PICTURES: &str = "CAREPLANE_PICTURES";
/// For one answer of the browser: after that it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page in it.
pub struct Shown {
    browser: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    calls: u64,
    /// What the page said, and what it asked for beside itself.
    pub trouble: Vec<String>,
    url: String,
    _folder: tempfile::TempDir,
}

impl Shown {
    /// Opens `page`, and waits until it is there.
    pub fn new(program: &Path, page: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.html");
        fs::write(&file, page).unwrap();
        // Without its sandbox, which root and containers do not allow: the page is our own.
        let mut browser = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(browser.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let before = said.len();
            assert!(errors.read_line(&mut said).unwrap() > 0, "{} said:\n{said}", program.display());
            if let Some(address) = said[before..].trim().strip_prefix("DevTools listening on ") {
                break address.to_owned();
            }
        };
        thread::spawn(move || io::copy(&mut errors, &mut io::sink()));
        let host = address.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).unwrap();
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(&address, stream).unwrap();
        let url = format!("file://{}", file.display());
        let mut shown =
            Self { browser, socket, session: None, calls: 0, trouble: Vec::new(), url: url.clone(), _folder: folder };
        let target = shown.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = shown.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        shown.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Log", "Runtime"] {
            shown.call(&format!("{domain}.enable"), json!({}));
        }
        shown.call("Page.navigate", json!({"url": url}));
        while shown.next()["method"] != "Page.loadEventFired" {}
        shown
    }

    /// What the promise or value `expression` comes to.
    pub fn ask(&mut self, expression: &str) -> Value {
        let answer = self
            .call("Runtime.evaluate", json!({"expression": expression, "awaitPromise": true, "returnByValue": true}));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Makes the window as wide as that.
    pub fn resize(&mut self, width: u32) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Types a text where the focus is.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Presses a key (`Tab`, `Space`) and lets it go; with `Control`, or without a modifier.
    pub fn press(&mut self, key: &str, modifier: &str) {
        let (name, code) = match key {
            "Backspace" => (key, 8),
            "Tab" => (key, 9),
            "Enter" => (key, 13),
            "Escape" => (key, 27),
            "Space" => (" ", 32),
            _ => panic!("the key {key} is not known here"),
        };
        let modifiers = if modifier == "Control" { 2 } else { 0 };
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": name, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers,
            });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Takes a picture of the whole page, and one of it printed.
    pub fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os(PICTURES).map(PathBuf::from) else { return };
        fs::create_dir_all(&folder).unwrap();
        let picture = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let print = self.call("Page.printToPDF", json!({"preferCSSPageSize": true}));
        for (data, ending) in [(picture, "png"), (print, "pdf")] {
            let bytes = data_encoding::BASE64.decode(data["data"].as_str().unwrap().as_bytes()).unwrap();
            fs::write(folder.join(format!("{name}.{ending}")), bytes).unwrap();
        }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": params});
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let mut answer = self.next();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
        }
    }

    fn next(&mut self) -> Value {
        let message: Value = serde_json::from_str(self.socket.read().unwrap().to_text().unwrap()).unwrap();
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") if params["request"]["url"] != self.url => {
                self.trouble.push(format!("asked for {}", params["request"]["url"]));
            }
            Some("Log.entryAdded") => self.trouble.push(format!("logged {}", params["entry"]["text"])),
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown") => self.trouble.push(params.to_string()),
            _ => {}
        }
        message
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // Its own children end with it; the profile is removed after that.
        let close = json!({"id": 0, "method": "Browser.close"}).to_string();
        if self.socket.send(Message::text(close)).is_err() {
            let _ = self.browser.kill();
        }
        let _ = self.browser.wait();
    }
}
