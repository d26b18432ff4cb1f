package secure_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/transport/secure"
)

// The commands that the deployment guide gives make files that nodes take from one another.
func TestCommandsOfTheDeploymentGuide(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("needs openssl: the guide makes certificates with it")
	}
	guide, err := os.ReadFile("../../../profiles/deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(guide), "```sh\n")
	commands, _, ok := strings.Cut(rest, "```")
	if !ok || !strings.Contains(commands, "openssl x509") {
		t.Fatal("the guide has no openssl commands")
	}
	dir := t.TempDir()
	sh := exec.Command("sh", "-e", "-c", commands)
	sh.Dir = dir
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var nodes [3]*secure.Keys
	for i := range nodes {
		n := id.NodeID(i + 1)
		name := filepath.Join(dir, secure.Name(n))
		nodes[i] = load(t, secure.Files{Cert: name + ".pem", Key: name + ".key", CA: filepath.Join(dir, "ca.pem")}, n)
	}
	if _, serverErr, clientErr := shake(t, nodes[1], nodes[2], 2); serverErr != nil || clientErr != nil {
		t.Error(serverErr, clientErr)
	}
	_, _, err = shake(t, nodes[1], nodes[2], 1)
	says(t, err, 1, false, `["node-2"]: it must have "node-1"`)
}
