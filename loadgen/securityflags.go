package main

import "ackline/loadgen/secure"

// securityFlags say what a guarded cluster gets to see. None takes a password: whoever may list processes sees a command line,
// and it stands in the records of a run.
type securityFlags struct {
	TLS           bool   `name:"tls" help:"Encrypt, and verify the brokers' certificates."`
	TLSCA         string `name:"tls-ca" placeholder:"FILE" help:"Authorities to believe, in PEM form (those of the system)."`
	TLSCert       string `name:"tls-cert" placeholder:"FILE" help:"Client certificate, in PEM form, for a cluster that wants one (mutual TLS)."`
	TLSKey        string `name:"tls-key" placeholder:"FILE" help:"Its key."`
	TLSServerName string `name:"tls-server-name" placeholder:"NAME" help:"Name that the brokers' certificates must bear (the host that is dialled)."`
	TLSInsecure   bool   `name:"tls-insecure" help:"Believe every certificate. Whoever sits in between can then read and change everything."`

	SASL             string `name:"sasl" placeholder:"MECHANISM" help:"Authenticate: plain, scram-sha-256 or scram-sha-512."`
	SASLUser         string `name:"sasl-user" placeholder:"NAME" help:"As whom."`
	SASLPasswordFile string `name:"sasl-password-file" placeholder:"FILE" help:"File with the password (it is taken from the environment variable LOADGEN_SASL_PASSWORD). There is no flag for the password itself."`
}

func (f *securityFlags) config() secure.Config {
	return secure.Config{TLS: f.TLS, CAFile: f.TLSCA, CertFile: f.TLSCert, KeyFile: f.TLSKey, ServerName: f.TLSServerName, Insecure: f.TLSInsecure,
		SASL: f.SASL, User: f.SASLUser, PasswordFile: f.SASLPasswordFile}
}
