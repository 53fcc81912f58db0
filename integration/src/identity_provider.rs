//! The identity provider: one ES256 key, its JWKS, and tokens signed with it.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

/// The `iss` of every token, as `envoy.yaml` expects it.
pub const ISSUER: &str = "https://login.care.example";

/// The `aud` of every token, as `envoy.yaml` expects it.
pub const AUDIENCE: &str = "careplane";

const KEY_ID: &str = "careplane-lab";

/// The validity of tokens: long enough for any test.
const LIFETIME: Duration = Duration::from_secs(3600);

/// An identity provider with a key of its own.
#[derive(Debug)]
pub struct IdentityProvider {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl IdentityProvider {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness to give.
    pub fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| anyhow!("cannot generate a key"))?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|rejected| anyhow!("the generated key was rejected: {rejected}"))?;
        Ok(Self { key, random })
    }

    /// The public key as a JWK Set (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        // SEC 1 uncompressed point: 0x04, then x and y of 32 bytes each.
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": BASE64URL.encode(x), "y": BASE64URL.encode(y),
        }]})
    }

    /// A token for `user` (`sub`) of `tenant` (`tenant_id`), valid for an hour. The members of `extra`, an object, are
    /// added or replace what is there; a null removes.
    ///
    /// # Errors
    ///
    /// When `extra` is not an object or signing fails.
    pub fn token(&self, tenant: &str, user: &str, extra: Value) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": user, "tenant_id": tenant,
            "iat": now.as_secs(), "exp": (now + LIFETIME).as_secs(),
        });
        for (name, value) in extra.as_object().context("extra claims must be a JSON object")? {
            claims[name] = value.clone();
        }
        if let Some(claims) = claims.as_object_mut() {
            claims.retain(|_, value| !value.is_null());
        }
        self.sign(&claims)
    }

    /// Signs any claims as a compact JWS (RFC 7515).
    ///
    /// # Errors
    ///
    /// When signing fails.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID});
        let input = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let signature = self.key.sign(&self.random, input.as_bytes()).map_err(|_| anyhow!("cannot sign"))?;
        Ok(format!("{input}.{}", BASE64URL.encode(signature)))
    }
}
