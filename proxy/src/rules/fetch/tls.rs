//! Fetches of the client's TLS session, where TLS ends here.

mod certificate;
mod names;
#[cfg(test)]
mod tests;

use certificate::Field;
use names::Form;
use rustls::{CommonState, HandshakeKind};

use super::payload::{at_most, fault};
use super::{Call, Fetch};
use crate::config::diagnostic::Fault;
use crate::conn::data::ssl::SslSock;
use crate::rules::names::Names;
use crate::rules::sample::{Kind, Sample, Value};
use crate::rules::scene::{Needs, Scene};
use crate::tls::facts;

/// The names of this family.
pub(super) const NAMES: &[&str] = &[
    "ssl_c_ca_err",
    "ssl_c_ca_err_depth",
    "ssl_c_der",
    "ssl_c_err",
    "ssl_c_i_dn",
    "ssl_c_key_alg",
    "ssl_c_notafter",
    "ssl_c_notbefore",
    "ssl_c_s_dn",
    "ssl_c_serial",
    "ssl_c_sha1",
    "ssl_c_sig_alg",
    "ssl_c_used",
    "ssl_c_verify",
    "ssl_c_version",
    "ssl_fc",
    "ssl_fc_alg_keysize",
    "ssl_fc_alpn",
    "ssl_fc_cipher",
    "ssl_fc_has_crt",
    "ssl_fc_has_sni",
    "ssl_fc_is_resumed",
    "ssl_fc_protocol",
    "ssl_fc_sni",
    "ssl_fc_use_keysize",
];

/// Compiles a call of this family.
pub(super) fn compile(call: Call<'_>, _names: &Names<'_>) -> Option<Result<Box<dyn Fetch>, Fault>> {
    let look = match call.name {
        "ssl_fc" => Look::Used,
        "ssl_fc_has_sni" => Look::HasName,
        "ssl_fc_is_resumed" => Look::Resumed,
        "ssl_fc_has_crt" => Look::Shown,
        "ssl_c_used" => Look::Known,
        // A client whose certificate is refused does not get this far.
        "ssl_c_verify" | "ssl_c_err" | "ssl_c_ca_err" | "ssl_c_ca_err_depth" => Look::Verified,
        "ssl_fc_sni" => Look::Name,
        "ssl_fc_alpn" => Look::Protocol,
        "ssl_fc_protocol" => Look::Version,
        "ssl_fc_cipher" => Look::Cipher,
        "ssl_fc_alg_keysize" | "ssl_fc_use_keysize" => Look::KeySize,
        "ssl_c_der" => Look::Certificate(Field::Der),
        "ssl_c_serial" => Look::Certificate(Field::Serial),
        "ssl_c_sha1" => Look::Certificate(Field::Sha1),
        "ssl_c_version" => Look::Certificate(Field::Version),
        "ssl_c_notbefore" => Look::Certificate(Field::NotBefore),
        "ssl_c_notafter" => Look::Certificate(Field::NotAfter),
        "ssl_c_key_alg" => Look::Certificate(Field::Key),
        "ssl_c_sig_alg" => Look::Certificate(Field::Signature),
        "ssl_c_s_dn" | "ssl_c_i_dn" => {
            return Some(form(call).map(|form| {
                let field = if call.name == "ssl_c_s_dn" {
                    Field::Subject(form)
                } else {
                    Field::Issuer(form)
                };
                Box::new(TlsFetch(Look::Certificate(field))) as Box<dyn Fetch>
            }));
        }
        _ => return None,
    };
    Some(at_most(call, 0).map(|()| Box::new(TlsFetch(look)) as Box<dyn Fetch>))
}

/// Reads `[entry[,occurrence[,format]]]`.
fn form(call: Call<'_>) -> Result<Form, Fault> {
    at_most(call, 3)?;
    let argument = |at: usize| call.arguments.get(at).map_or("", String::as_str);
    let occurrence = match argument(1) {
        "" => 1,
        text => text
            .parse()
            .map_err(|_| fault(call, format!("'{text}' is not an occurrence")))?,
    };
    let rfc2253 = match argument(2) {
        "" => false,
        "rfc2253" => true,
        other => {
            return Err(fault(
                call,
                format!("'{other}' is not a format: only rfc2253 is supported"),
            ));
        }
    };
    Ok(match argument(0) {
        "" if rfc2253 => Form::Rfc2253,
        "" => Form::OneLine,
        entry => Form::Entry {
            name: entry.into(),
            occurrence,
        },
    })
}

/// What to look at.
#[derive(Debug)]
enum Look {
    /// Whether there is TLS.
    Used,
    /// Whether the client asked for a name.
    HasName,
    /// Whether an earlier session was resumed.
    Resumed,
    /// Whether the client has shown a certificate in this connection.
    Shown,
    /// Whether its certificate is known, from this connection or the one that it resumes.
    Known,
    /// OpenSSL's result of its verification.
    Verified,
    /// The name that it asked for.
    Name,
    /// What ALPN chose.
    Protocol,
    /// The version of TLS.
    Version,
    /// The cipher suite.
    Cipher,
    /// Bits of the cipher's key.
    KeySize,
    /// A part of its certificate.
    Certificate(Field),
}

#[derive(Debug)]
struct TlsFetch(Look);

impl Fetch for TlsFetch {
    fn kind(&self) -> Kind {
        match &self.0 {
            Look::Used | Look::HasName | Look::Resumed | Look::Shown | Look::Known => Kind::Bool,
            Look::Verified | Look::KeySize => Kind::Int,
            Look::Name | Look::Protocol | Look::Version | Look::Cipher => Kind::Str,
            Look::Certificate(field) => field.kind(),
        }
    }

    fn needs(&self) -> Needs {
        Needs::SESSION
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        self.find(scene).map_or(Sample::Absent, Sample::Is)
    }
}

impl TlsFetch {
    fn find<'a>(&self, scene: &Scene<'a>) -> Option<Value<'a>> {
        let state = scene.tls.and_then(SslSock::common);
        let name = scene.tls.and_then(SslSock::server_name);
        let resumed = |state: &CommonState| state.handshake_kind() == Some(HandshakeKind::Resumed);
        let certificate = |state: &'a CommonState| state.peer_certificates()?.first();
        let text = |text: &'static str| Value::Str(text.as_bytes());
        Some(match &self.0 {
            Look::Used => Value::Bool(scene.tls.is_some()),
            Look::HasName => Value::Bool(name.is_some()),
            Look::Resumed => Value::Bool(state.is_some_and(resumed)),
            Look::Shown => {
                let state = state?;
                Value::Bool(certificate(state).is_some() && !resumed(state))
            }
            Look::Known => Value::Bool(certificate(state?).is_some()),
            Look::Verified => state.map(|_| Value::Int(0))?,
            Look::Name => Value::Str(name?.as_bytes()),
            Look::Protocol => Value::Str(state?.alpn_protocol()?),
            Look::Version => text(facts::version(state?)?),
            Look::Cipher => text(facts::cipher(state?)?),
            Look::KeySize => Value::Int(facts::key_size(state?)?.into()),
            Look::Certificate(field) => field.of(certificate(state?)?, scene.arena)?,
        })
    }
}
