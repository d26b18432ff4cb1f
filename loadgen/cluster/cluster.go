// Package cluster asks a Kafka-protocol cluster where its partitions are led, and creates and deletes topics.
//
// The problem: a client library retries, refreshes and hides errors, which is right for an application and wrong for an
// instrument that has to say "nothing is listening there" at once, or find the new leader within milliseconds of a
// failover. Nothing here is part of what is measured, so connections of the net package and kmsg do.
package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/client/sock"
	"ackline/loadgen/frame"
	"ackline/loadgen/secure"
)

// Cluster is a cluster that can be asked. It opens a connection per request: nothing here is frequent, and a broker that
// went away is then noticed at once. Safe for concurrent use.
type Cluster struct {
	seeds   []string
	timeout time.Duration
	papers  *secure.Client // nil: plain TCP
	way     sock.Way       // nil: addresses are where they say

	mu    sync.Mutex // guards known
	known []string   // addresses learnt from Metadata, tried after the seeds
}

// New returns the cluster of the brokers at the given host:port addresses. timeout bounds each request and how long
// a passing condition, such as an election, is waited for.
func New(brokers []string, timeout time.Duration) (*Cluster, error) {
	return NewSecure(brokers, timeout, nil)
}

// NewSecure is New for a cluster that wants to see papers: TLS, SASL. nil has none.
func NewSecure(brokers []string, timeout time.Duration, papers *secure.Client) (*Cluster, error) {
	if len(brokers) == 0 {
		return nil, errors.New("no brokers: give at least one host:port")
	}
	for _, b := range brokers {
		if err := CheckAddress(b); err != nil {
			return nil, err
		}
	}
	return &Cluster{seeds: slices.Clone(brokers), timeout: timeout, papers: papers}, nil
}

// CheckAddress says whether addr is a host and a port.
func CheckAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host != "" {
		if n, e := strconv.Atoi(port); e == nil && n > 0 && n < 1<<16 {
			return nil
		}
	}
	return fmt.Errorf("address %q: want host:port, such as 127.0.0.1:9092", addr)
}

// ErrNoTopic says that the cluster does not know the topic.
var ErrNoTopic = errors.New("no such topic")

// ErrNoLeader says that a partition has no leader now.
var ErrNoLeader = errors.New("no leader")

// ErrNoController says that nobody takes changes of topics now: the cluster has just been started, or is electing.
var ErrNoController = errors.New("the cluster has no controller now")

// Timeout is what New was given.
func (c *Cluster) Timeout() time.Duration { return c.timeout }

// Seeds are the addresses that New was given.
func (c *Cluster) Seeds() []string { return slices.Clone(c.seeds) }

// Papers are what NewSecure was given, for those who connect by themselves.
func (c *Cluster) Papers() *secure.Client { return c.papers }

// Through makes all connections go that way. It returns c, and belongs before everything else.
func (c *Cluster) Through(way sock.Way) *Cluster {
	c.way = way
	return c
}

// Way is what Through was given, for those who connect by themselves.
func (c *Cluster) Way() sock.Way { return c.way }

// MaxReply bounds the length of a reply that is believed.
const MaxReply = 256 << 20

// call sends one request over a fresh connection to addr and reads the answer into resp.
func (c *Cluster) call(ctx context.Context, addr string, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	raw, err := c.way.Conn(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	deadline, _ := ctx.Deadline()
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, err
	}
	// A deadline that has passed, not Close: whichever of the two timers fires first, the error is a time-out.
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := c.papers.Secure(raw, addr)
	if err != nil {
		return nil, err
	}
	resp, err := exchange(conn, req)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", kmsg.NameForKey(req.Key()), addr, c.papers.Explain(conn, err))
	}
	return resp, nil
}

// exchange sends a request and reads its answer.
func exchange(conn net.Conn, req kmsg.Request) (kmsg.Response, error) {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(frame.ClientID))
	if _, err := conn.Write(f.AppendRequest(nil, req, 1)); err != nil {
		return nil, err
	}
	body, err := readReply(conn)
	if err != nil {
		return nil, err
	}
	if req.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("header with tags, want none")
		}
		body = body[1:]
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("response v%d of %d bytes: %w", req.GetVersion(), len(body), err)
	}
	return resp, nil
}

func readReply(r io.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the connection was closed without an answer; is this a Kafka-protocol listener, and does it want TLS or SASL (--tls, --sasl)?")
		}
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(head[:])))
	if n < 4 || n > MaxReply {
		return nil, fmt.Errorf("a reply of %d bytes, want 4 to %d; is this a Kafka-protocol listener, and does it want TLS or SASL (--tls, --sasl)?", n, MaxReply)
	}
	body := make([]byte, n-4)
	_, err := io.ReadFull(r, body)
	return body, err
}

// any sends a request to every broker that is known, all at once, and takes the first answer: one that is stopped or cut
// off answers nothing, and must not be waited for while another would.
func (c *Cluster) any(ctx context.Context, request func() kmsg.Request) (kmsg.Response, error) {
	c.mu.Lock()
	addrs := append(slices.Clone(c.seeds), c.known...)
	c.mu.Unlock()
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	type answer struct {
		resp kmsg.Response
		err  error
	}
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(addrs))
	for _, addr := range addrs {
		go func() {
			resp, err := c.call(asking, addr, request())
			answers <- answer{resp, err}
		}()
	}
	var errs []error
	for range addrs {
		got := <-answers
		if got.err == nil {
			return got.resp, nil
		}
		errs = append(errs, got.err)
	}
	return nil, c.nobody(ctx, errs)
}

// nobody says why no broker gave an answer. A refusal speaks for all: the papers are the same everywhere.
func (c *Cluster) nobody(ctx context.Context, errs []error) error {
	if i := slices.IndexFunc(errs, secure.Refused); i >= 0 {
		return errs[i]
	}
	var said []string
	for _, err := range errs {
		if s := err.Error(); !slices.Contains(said, s) {
			said = append(said, s)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w, last: %s", ctx.Err(), strings.Join(said, "; "))
	}
	if _, ok := errors.AsType[*secure.Refusal](errs[0]); ok {
		return fmt.Errorf("no broker answers (%s)", strings.Join(said, "; "))
	}
	return fmt.Errorf("no broker answers (%s): is one listening there?", strings.Join(said, "; "))
}

// Check asks the broker for its versions and refuses one that does not speak what the wire driver sends.
func (c *Cluster) Check(ctx context.Context) error {
	resp, err := c.any(ctx, func() kmsg.Request {
		r := kmsg.NewPtrApiVersionsRequest()
		r.Version = 0
		return r
	})
	if err != nil {
		return err
	}
	v := resp.(*kmsg.ApiVersionsResponse)
	if err := kerr.ErrorForCode(v.ErrorCode); err != nil {
		return fmt.Errorf("ApiVersions: %w", err)
	}
	for _, need := range []struct {
		key     int16
		version int16
	}{{frame.ProduceKey, frame.ProduceVersion}, {frame.FetchKey, frame.FetchVersion}, {int16(kmsg.Metadata), metadataVersion}} {
		i := slices.IndexFunc(v.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == need.key })
		if i < 0 || need.version < v.ApiKeys[i].MinVersion || need.version > v.ApiKeys[i].MaxVersion {
			return fmt.Errorf("the broker does not serve %s version %d, which loadgen sends", kmsg.NameForKey(need.key), need.version)
		}
	}
	return nil
}

const metadataVersion = 7

// ID is what the cluster calls itself, "" if it does not say.
func (c *Cluster) ID(ctx context.Context, topic string) (string, error) {
	m, err := c.metadata(ctx, topic)
	if err != nil || m.ClusterID == nil {
		return "", err
	}
	return *m.ClusterID, nil
}

// controller returns the address to send topic changes to.
func (c *Cluster) controller(ctx context.Context, topic string) (string, error) {
	m, err := c.metadata(ctx, topic)
	if err != nil {
		return "", err
	}
	for _, b := range m.Brokers {
		if b.NodeID == m.ControllerID {
			return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), nil
		}
	}
	return "", fmt.Errorf("%w (metadata names node %d of %d)", ErrNoController, m.ControllerID, len(m.Brokers))
}

// retry repeats f while its error is one that passes, for at most the time-out.
func (c *Cluster) retry(ctx context.Context, f func() error) error {
	deadline := time.Now().Add(c.timeout)
	for {
		err := f()
		passing := errors.Is(err, ErrNoLeader) || errors.Is(err, ErrNoTopic) || errors.Is(err, ErrNoController) || kerr.IsRetriable(err)
		if err == nil || !passing || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, last: %w", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ProducerID asks for the id of a new producer.
func (c *Cluster) ProducerID(ctx context.Context) (who frame.Producer, err error) {
	err = c.retry(ctx, func() error {
		resp, err := c.any(ctx, func() kmsg.Request {
			r := kmsg.NewPtrInitProducerIDRequest()
			r.Version = 1
			return r
		})
		if err != nil {
			return err
		}
		got := resp.(*kmsg.InitProducerIDResponse)
		who = frame.Producer{ID: got.ProducerID, Epoch: got.ProducerEpoch}
		return kerr.ErrorForCode(got.ErrorCode)
	})
	if err != nil {
		return who, fmt.Errorf("producer id: %w", err)
	}
	return who, nil
}
