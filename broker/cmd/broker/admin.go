package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ackline/broker/id"
	"ackline/broker/node/admin"
)

// adminCmd is what an operator asks a running cluster, and tells it.
type adminCmd struct {
	Status   statusCmd   `cmd:"" help:"How the cluster is: its nodes, who leads the metadata, partitions without a leader or with too few replicas."`
	Leaders  leadersCmd  `cmd:"" help:"Who leads which partition, and how many each node leads."`
	Transfer transferCmd `cmd:"" help:"Let another replica lead a partition, or everything that a node leads."`
	Add      addCmd      `cmd:"" help:"Make the cluster expect one more node, which may then be started with \"broker cluster --join\"."`
	Remove   removeCmd   `cmd:"" help:"Move everything off a node, then forget it."`
	Replace  replaceCmd  `cmd:"" help:"Let one node take another's place, which may be dead, then forget that one."`
}

// adminFlags are those of every request.
type adminFlags struct {
	HTTPAddr string `name:"http-addr" default:"127.0.0.1:9644" help:"The --http-addr of any node of the cluster. It is on loopback unless a node was told otherwise, since nobody is authenticated there: run this on a node's machine." placeholder:"ADDR"`
	JSON     bool   `help:"Print the answer as JSON."`
}

type statusCmd struct{ adminFlags }

// Help implements kong.HelpProvider.
func (statusCmd) Help() string {
	return `Any node answers, from what it knows and what the leaders tell it. Without a majority it answers what it knows, and says so.

  broker admin status
  broker admin status --json | jq '.counts'

Exit code 3: partitions without a leader, or with fewer replicas than they should have, or nobody who leads the metadata.`
}

type leadersCmd struct {
	adminFlags
	Topic string `help:"Only this topic." placeholder:"NAME"`
}

type transferCmd struct {
	adminFlags
	Partition string `arg:"" optional:"" help:"The partition, TOPIC/NUMBER." placeholder:"TOPIC/PARTITION"`
	To        int32  `help:"The node that is to lead; it must hold a replica. With --all-from it may be left out: whoever leads least." placeholder:"NODE"`
	AllFrom   int32  `help:"Instead of one partition: everything that this node leads." placeholder:"NODE"`
}

// Help implements kong.HelpProvider.
func (transferCmd) Help() string {
	return `Nothing is lost and nothing is written twice: producers are told the new leader. A leader stays until it is moved again, goes back, stops, or dies.

  broker admin transfer events/0 --to 2
  broker admin transfer --all-from 3          before work on node 3's machine

Leaderships go back to the nodes that are meant to have them after
cluster.balance_after_s, unless that is -1: do the work before, or stop the node,
which hands over by itself.`
}

type addCmd struct {
	adminFlags
	Node     int32  `arg:"" help:"The id of the new node, which no node of the cluster has."`
	RaftAddr string `arg:"" help:"Where the others will reach it, host:port: its --raft-addr."`
}

// Help implements kong.HelpProvider.
func (addCmd) Help() string {
	return `The cluster expects the node from then on, and a node with an empty data directory that is started with --join is let in:

  broker admin add 4 10.0.0.4:5001
  (on 10.0.0.4)  broker cluster --join --node-id 4 --raft-addr 10.0.0.4:5001 --listen-addr 10.0.0.4:9092 \
                        --peers 1@10.0.0.1:5001,2@10.0.0.2:5001,3@10.0.0.3:5001 --data-dir /var/lib/ackline

New topics are placed on it too; what is there already stays where it is, until "remove" or "replace" moves it.`
}

type removeCmd struct {
	adminFlags
	waiting
	Node int32 `arg:"" help:"The node that is to go."`
}

// Help implements kong.HelpProvider.
func (removeCmd) Help() string {
	return `Each of its replicas gets another place, in another zone if there is one: the new one learns, catches up, takes the old one's place in
one step, and only then the old one is deleted. When none is left, the node is forgotten, its handshakes are refused, and its process
ends. It is safe to interrupt this and to say it again. It is refused while there are too few nodes for the topics' replication.

  broker admin remove 3`
}

type replaceCmd struct {
	adminFlags
	waiting
	Old int32 `arg:"" help:"The node that is to go; it may be dead."`
	New int32 `arg:"" help:"The node that gets its replicas. Add and start it first."`
}

// Help implements kong.HelpProvider.
func (replaceCmd) Help() string {
	return `A node whose disk is lost cannot come back under its id, since its votes are lost too. Another takes its place, with new replica ids:

  broker admin add 4 10.0.0.4:5001
  (start node 4 with --join)
  broker admin replace 3 4`
}

// waiting is how long a removal goes on.
type waiting struct {
	Timeout time.Duration `default:"1h" help:"Stop waiting after this; what was begun goes on."`
}

// adminClient asks one node.
type adminClient struct {
	flags    adminFlags
	http     http.Client
	out, err io.Writer
}

// runAdmin runs one command of adminCmd.
func runAdmin(ctx context.Context, command string, a *adminCmd, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	with := func(f adminFlags) *adminClient {
		return &adminClient{flags: f, http: http.Client{Timeout: time.Minute}, out: out, err: errOut}
	}
	var err error
	code := 0
	switch verb, _, _ := strings.Cut(strings.TrimPrefix(command, "admin "), " "); verb {
	case "status":
		code, err = with(a.Status.adminFlags).status(ctx)
	case "leaders":
		err = with(a.Leaders.adminFlags).leaders(ctx, a.Leaders.Topic)
	case "transfer":
		code, err = with(a.Transfer.adminFlags).transfer(ctx, a.Transfer)
	case "add":
		err = with(a.Add.adminFlags).add(ctx, a.Add)
	case "remove":
		err = with(a.Remove.adminFlags).remove(ctx, admin.RemoveRequest{Node: id.NodeID(a.Remove.Node)}, a.Remove.Timeout)
	case "replace":
		err = with(a.Replace.adminFlags).remove(ctx, admin.RemoveRequest{Node: id.NodeID(a.Replace.Old), To: id.NodeID(a.Replace.New)}, a.Replace.Timeout)
	}
	var usage usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "broker: %v\n", err)
		return 2
	case err != nil:
		fmt.Fprintf(errOut, "broker: %v\n", err)
		return 1
	}
	return code
}

// usageError is a command line that means nothing.
type usageError struct{ error }

// ask sends a request, GET without a body, and decodes the answer.
func (c *adminClient) ask(ctx context.Context, path string, body, answer any) error {
	url := "http://" + c.flags.HTTPAddr + path
	if _, _, err := net.SplitHostPort(c.flags.HTTPAddr); err != nil {
		return usageError{fmt.Errorf("--http-addr %q is not host:port: %w", c.flags.HTTPAddr, err)}
	}
	method, content := http.MethodGet, io.Reader(nil)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		method, content = http.MethodPost, bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("no node answers at --http-addr %s: %w", c.flags.HTTPAddr, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("the answer of %s: %w", c.flags.HTTPAddr, err)
	}
	if resp.StatusCode != http.StatusOK {
		var failure struct{ Error string }
		if json.Unmarshal(b, &failure) != nil || failure.Error == "" {
			failure.Error = "it answers " + resp.Status + ": is it a broker that listens there?"
		}
		return &refusedError{c.flags.HTTPAddr, failure.Error, resp.StatusCode}
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("the answer of %s: %w; is it a broker that listens there?", c.flags.HTTPAddr, err)
	}
	return nil
}

// refusedError is a node's refusal.
type refusedError struct {
	addr, text string
	status     int
}

func (e *refusedError) Error() string { return e.addr + ": " + e.text }

// print shows an answer as JSON if that is wanted, and tells whether it was.
func (c *adminClient) print(v any) bool {
	if !c.flags.JSON {
		return false
	}
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		fmt.Fprintf(c.err, "broker: %v\n", err)
	}
	return true
}

func (c *adminClient) add(ctx context.Context, a addCmd) error {
	var got admin.AddAnswer
	if err := c.ask(ctx, "/admin/add", admin.AddRequest{Node: id.NodeID(a.Node), RaftAddr: a.RaftAddr}, &got); err != nil || c.print(got) {
		return err
	}
	fmt.Fprintf(c.out, "node %d is expected at %s\n%s\n", got.Node.ID, got.Node.RaftAddr, got.Next)
	return nil
}

func (c *adminClient) transfer(ctx context.Context, a transferCmd) (int, error) {
	r := admin.TransferRequest{AllFrom: id.NodeID(a.AllFrom), To: id.NodeID(a.To)}
	switch topic, number, ok := cutLast(a.Partition); {
	case (a.Partition == "") == (a.AllFrom == 0):
		return 0, usageError{errors.New("transfer what? Name one partition as TOPIC/NUMBER, or a node with --all-from")}
	case a.AllFrom == 0 && a.To == 0:
		return 0, usageError{errors.New("transfer to which node? Say --to NODE")}
	case a.AllFrom == 0:
		n, err := strconv.ParseInt(number, 10, 32)
		if !ok || err != nil {
			return 0, usageError{fmt.Errorf("%q is not TOPIC/NUMBER, such as events/0", a.Partition)}
		}
		r.Topic, r.Partition = topic, int32(n)
	}
	var got admin.TransferAnswer
	if err := c.ask(ctx, "/admin/transfer", r, &got); err != nil {
		return 0, err
	}
	code := 0
	if len(got.Failed) > 0 {
		code = 1
	}
	if c.print(got) {
		return code, nil
	}
	for _, p := range got.Moved {
		fmt.Fprintf(c.out, "%s/%d is led by node %d, epoch %d\n", p.Topic, p.Partition, p.Leader, p.Epoch)
	}
	for _, f := range got.Failed {
		fmt.Fprintf(c.err, "%s/%d: %s\n", f.Topic, f.Partition, f.Why)
	}
	if len(got.Moved)+len(got.Failed) == 0 {
		fmt.Fprintf(c.out, "node %d leads nothing\n", a.AllFrom)
	}
	return code, nil
}

// cutLast splits at the last slash.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
