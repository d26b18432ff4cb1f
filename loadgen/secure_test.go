package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/brokertest/guarded"
	"ackline/loadgen/result"
	"ackline/loadgen/secure"
)

// brief makes a run of a third of a second with everything that connects: a driver, a consumer, the check, the topic's making.
func brief(args ...string) []string {
	return append([]string{"--rate", "200", "--for", "300ms", "--warm-up", "0s", "--judge", "0", "--size", "200", "--timeout", "2m", "--end-to-end"}, args...)
}

// guards are all that a cluster may ask for.
func guards() (out []guarded.Ask) {
	for _, wire := range []guarded.Ask{{}, {TLS: true}, {TLS: true, Mutual: true}} {
		for _, mechanism := range []string{"", secure.Plain, secure.ScramSHA256, secure.ScramSHA512} {
			wire.SASL = mechanism
			out = append(out, wire)
		}
	}
	return out
}

func name(a guarded.Ask, driver string) string {
	n := "plain"
	if a.Mutual {
		n = "mtls"
	} else if a.TLS {
		n = "tls"
	}
	return n + " " + a.SASL + " " + driver
}

// The same run against every kind of guard. Its data is intact, and the password is nowhere in what it leaves.
func TestGuardedClusters(t *testing.T) {
	for _, ask := range guards() {
		c := guarded.Start(t, ask)
		for _, driver := range []string{"wire", "kgo"} {
			t.Run(name(ask, driver), func(t *testing.T) {
				dir := t.TempDir()
				js, hl := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.hlog")
				code, out, errOut := do(t, brief(append(c.Flags(), "--driver", driver, "--in-flight", "2", "--json", js, "--hlog", hl)...)...)
				if code != exitValid && code != exitInvalid {
					t.Fatalf("exit %d: %s%s", code, out, errOut)
				}
				raw, _ := os.ReadFile(js)
				log, _ := os.ReadFile(hl)
				var r result.Result
				if err := json.Unmarshal(raw, &r); err != nil {
					t.Fatal(err)
				}
				for _, reason := range r.Verdict.Reasons {
					if !slices.Contains([]result.Code{result.Lag, result.Starved, result.Garbage, result.CPULimit}, reason.Code) {
						t.Errorf("%+v", reason)
					}
				}
				if r.Counts.Acked < 40 || r.Check == nil || !r.Check.Done || r.Check.Faults() != 0 || r.Latency.EndToEnd.Count() != r.Counts.Acked {
					t.Errorf("%+v, check %+v", r.Counts, r.Check)
				}
				if driver == "wire" && strings.HasPrefix(r.Effective.Connections[0].TLS, "TLS 1.3") != ask.TLS {
					t.Errorf("TLS %v, opened %q", ask.TLS, r.Effective.Connections[0].TLS)
				}
				if len(log) == 0 || ask.SASL != "" && !strings.Contains(out, "SASL "+strings.ToUpper(ask.SASL)) {
					t.Errorf("%d bytes of log, summary:\n%s", len(log), out)
				}
				for what, text := range map[string]string{"the JSON": string(raw), "the log": string(log), "the summary": out, "the progress": errOut} {
					if strings.Contains(text, guarded.Password) {
						t.Errorf("the password stands in %s", what)
					}
				}
				if c.Has(r.Target.Topic) {
					t.Errorf("topic %s is still there", r.Target.Topic)
				}
			})
		}
	}
}

// The fetch driver reads through the same guards, with the password from the environment.
func TestGuardedFetch(t *testing.T) {
	c := guarded.Start(t, guarded.Ask{TLS: true, SASL: secure.ScramSHA256})
	flags := slices.DeleteFunc(c.Flags(), func(s string) bool { return s == "--sasl-password-file" || s == c.PasswordFile })
	if code, _, errOut := do(t, brief(append(flags, "--topic", "t", "--keep")...)...); code != exitError || !strings.Contains(errOut, secure.PasswordEnv) {
		t.Errorf("without a password: exit %d, %s", code, errOut)
	}
	t.Setenv(secure.PasswordEnv, guarded.Password)
	code, out, errOut := do(t, brief(append(flags, "--topic", "t", "--keep")...)...)
	if (code != exitValid && code != exitInvalid) || !c.Has("t") || !strings.Contains(errOut, "topic t is kept") {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	code, out, errOut = do(t, append(flags, "--topic", "t", "--existing", "--workload", "fetch", "--rate", "100", "--for", "300ms", "--warm-up", "0s",
		"--judge", "0", "--timeout", "2m")...)
	if (code != exitValid && code != exitInvalid) || !strings.Contains(out, "; 0 failed") || !c.Has("t") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
}

// Who is not let in hears so once, at once, and with what would help.
func TestNotLetIn(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("Abracadabra"), 0o600); err != nil {
		t.Fatal(err)
	}
	sasl := guarded.Start(t, guarded.Ask{SASL: secure.Plain})
	scram := guarded.Start(t, guarded.Ask{SASL: secure.ScramSHA512})
	encrypted := guarded.Start(t, guarded.Ask{TLS: true})
	mutual := guarded.Start(t, guarded.Ask{TLS: true, Mutual: true})
	other := guarded.Start(t, guarded.Ask{TLS: true})
	open := guarded.Start(t, guarded.Ask{})
	as := func(c *guarded.Cluster, mechanism string) []string {
		return []string{"--brokers", c.Addr, "--sasl", mechanism, "--sasl-user", guarded.User, "--sasl-password-file", wrong}
	}
	for what, c := range map[string]struct {
		args []string
		says string
	}{
		"wrong PLAIN password":     {as(sasl, "plain"), "is the user right, and the password in " + wrong},
		"wrong SCRAM password":     {as(scram, "scram-sha-512"), "is the user right, and the password in " + wrong},
		"SASL not asked for":       {[]string{"--brokers", sasl.Addr}, "--sasl"},
		"unknown authority":        {[]string{"--brokers", encrypted.Addr, "--tls"}, "--tls-ca"},
		"another authority":        {[]string{"--brokers", encrypted.Addr, "--tls", "--tls-ca", other.CA}, "--tls-ca"},
		"another name":             {append(encrypted.Flags(), "--tls-server-name", "db.example"), "--tls-server-name"},
		"no client certificate":    {[]string{"--brokers", mutual.Addr, "--tls", "--tls-ca", mutual.CA}, "--tls-cert"},
		"another's certificate":    {[]string{"--brokers", mutual.Addr, "--tls", "--tls-ca", mutual.CA, "--tls-cert", other.Cert, "--tls-key", other.Key}, "client certificate"},
		"no TLS where TLS is":      {[]string{"--brokers", encrypted.Addr}, "--tls"},
		"TLS where none is":        {[]string{"--brokers", open.Addr, "--tls", "--timeout", "3s"}, "does that listener speak TLS?"},
		"a password file not here": {append(as(sasl, "plain"), "--sasl-password-file", wrong+"-2"), "--sasl-password-file"},
	} {
		t.Run(what, func(t *testing.T) {
			begun := time.Now()
			code, out, errOut := do(t, brief(append([]string{"--timeout", "30s"}, c.args...)...)...)
			if code != exitError || !strings.Contains(errOut, c.says) || strings.Count(errOut, "loadgen: ") != 1 {
				t.Errorf("exit %d: %s%s, want it to say %q", code, out, errOut, c.says)
			}
			if strings.Contains(errOut, "Abracadabra") || strings.Contains(errOut, "\n\n") {
				t.Errorf("%s", errOut)
			}
			if d := time.Since(begun); d > 20*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// A user who may create and not write, one who may do neither, and one who may not read.
func TestNotAuthorized(t *testing.T) {
	operations := []kmsg.ACLOperation{kmsg.ACLOperationDescribe, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete}
	for _, c := range []struct {
		may    []kmsg.ACLOperation
		driver string
		code   int
		says   []string
	}{
		{operations, "wire", exitError, []string{"TOPIC_AUTHORIZATION_FAILED", `topic "loadgen-`}},
		{operations, "kgo", exitError, []string{"AUTHORIZATION_FAILED", `topic "loadgen-`}}, // its producers want an id, which takes a right of its own
		{[]kmsg.ACLOperation{kmsg.ACLOperationDescribe}, "wire", exitError, []string{"AUTHORIZATION_FAILED", "--existing"}},
		{append(operations, kmsg.ACLOperationWrite), "wire", exitInvalid, []string{"TOPIC_AUTHORIZATION_FAILED", "unchecked"}},
	} {
		b := guarded.Start(t, guarded.Ask{SASL: secure.Plain, Guest: c.may})
		var args []string
		for _, a := range b.Flags() {
			if a == guarded.User {
				a = guarded.Guest
			}
			args = append(args, a)
		}
		args = slices.DeleteFunc(brief(append(args, "--driver", c.driver)...), func(s string) bool { return s == "--end-to-end" })
		begun := time.Now()
		code, out, errOut := do(t, args...)
		if code != c.code {
			t.Errorf("%v with %s: exit %d: %s%s", c.may, c.driver, code, out, errOut)
		}
		for _, s := range c.says {
			if !strings.Contains(out+errOut, s) {
				t.Errorf("%v with %s: %q is not said:\n%s%s", c.may, c.driver, s, out, errOut)
			}
		}
		if d := time.Since(begun); d > 20*time.Second {
			t.Errorf("%v with %s: it took %v", c.may, c.driver, d)
		}
	}
}

// The one thing that no flag does.
func TestNoFlagTakesAPassword(t *testing.T) {
	for _, args := range [][]string{{"--sasl-password=Sesame"}, {"--sasl-password", "Sesame"}} {
		code, out, errOut := do(t, append([]string{"--brokers", "a:1", "--sasl", "plain", "--sasl-user", "u"}, args...)...)
		if code != exitUsage || strings.Contains(out+errOut, "Sesame") {
			t.Errorf("%v: exit %d, %s%s", args, code, out, errOut)
		}
	}
}

func TestWarnsOfWeakProtection(t *testing.T) {
	c := guarded.Start(t, guarded.Ask{TLS: true, SASL: secure.Plain})
	_, out, errOut := do(t, brief("--brokers", c.Addr, "--tls", "--tls-insecure", "--sasl", "plain", "--sasl-user", guarded.User, "--sasl-password-file", c.PasswordFile)...)
	if !strings.Contains(errOut, "warning: --tls-insecure") || !strings.Contains(out, "WITHOUT VERIFICATION") {
		t.Errorf("%s%s", out, errOut)
	}
	var b bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	run(ctx, []string{"--brokers", "127.0.0.1:1", "--sasl", "plain", "--sasl-user", "u", "--sasl-password-file", c.PasswordFile}, &b, &b)
	if !strings.Contains(b.String(), "in clear text") {
		t.Errorf("%s", b.String())
	}
}
