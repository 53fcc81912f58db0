package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// options are those of `pilot-agent istio-iptables` that Istio's injection template uses.
type options struct {
	outbound, inbound                uint16
	proxyUser                        uint32
	includeNetworks, excludeNetworks []*net.IPNet
	allNetworks, allInbound          bool
	includeInbound, excludeInbound   []uint16
	includeOutbound, excludeOutbound []uint16
}

// hbone is where ambient peers connect, which is the proxy's own port.
const hbone = 15008

// capture makes the kernel send the connections of the pod to its proxy, as Istio's init container does with iptables,
// for which not every machine has the program.
func capture(arguments []string) error {
	options, err := parseOptions(arguments)
	if err != nil {
		return err
	}
	connection, err := nftables.New()
	if err != nil {
		return err
	}
	table := connection.AddTable(&nftables.Table{Name: "istio", Family: nftables.TableFamilyIPv4})
	chains := map[*nftables.ChainHook][][]expr.Any{
		nftables.ChainHookPrerouting: options.prerouting(),
		nftables.ChainHookOutput:     options.output(),
	}
	for hook, rules := range chains {
		chain := connection.AddChain(&nftables.Chain{
			Name:     fmt.Sprintf("hook%d", *hook),
			Table:    table,
			Type:     nftables.ChainTypeNAT,
			Hooknum:  hook,
			Priority: nftables.ChainPriorityNATDest,
		})
		for _, rule := range rules {
			connection.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
		}
	}
	if err := connection.Flush(); err != nil {
		return fmt.Errorf("writing the rules of nftables: %w", err)
	}
	return nil
}

func parseOptions(arguments []string) (*options, error) {
	var o options
	flags := flag.NewFlagSet("capture", flag.ContinueOnError)
	outbound := flags.Uint("p", 15001, "")
	inbound := flags.Uint("z", 15006, "")
	user := flags.Uint("u", 1337, "")
	mode := flags.String("m", "REDIRECT", "")
	networks, noNetworks := flags.String("i", "", ""), flags.String("x", "", "")
	ports, noPorts := flags.String("b", "", ""), flags.String("d", "", "")
	outPorts, noOutPorts := flags.String("q", "", ""), flags.String("o", "", "")
	_ = flags.String("log_output_level", "", "")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if *mode != "REDIRECT" {
		return nil, fmt.Errorf("interception mode %s is not supported: use REDIRECT, or NONE without capture", *mode)
	}
	o.outbound, o.inbound, o.proxyUser = uint16(*outbound), uint16(*inbound), uint32(*user)
	o.allNetworks, o.allInbound = *networks == "*", *ports == "*"
	var failures [6]error
	if !o.allNetworks {
		o.includeNetworks, failures[0] = parseList(*networks, parseNetwork)
	}
	o.excludeNetworks, failures[1] = parseList(*noNetworks, parseNetwork)
	if !o.allInbound {
		o.includeInbound, failures[2] = parseList(*ports, parsePort)
	}
	o.excludeInbound, failures[3] = parseList(*noPorts, parsePort)
	o.includeOutbound, failures[4] = parseList(*outPorts, parsePort)
	o.excludeOutbound, failures[5] = parseList(*noOutPorts, parsePort)
	return &o, errors.Join(failures[:]...)
}

func parseList[T any](list string, parse func(string) (T, error)) ([]T, error) {
	var values []T
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		value, err := parse(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err
}

func parseNetwork(text string) (*net.IPNet, error) {
	_, network, err := net.ParseCIDR(text)
	if err == nil && network.IP.To4() == nil {
		err = fmt.Errorf("%s is not an IPv4 network", text)
	}
	return network, err
}

// prerouting takes what comes from outside of the pod.
func (o *options) prerouting() [][]expr.Any {
	rules := [][]expr.Any{rule(tcp(), port(hbone), pass())}
	if !o.allInbound {
		for _, p := range o.includeInbound {
			rules = append(rules, rule(tcp(), port(p), redirect(o.inbound)))
		}
		return rules
	}
	for _, p := range o.excludeInbound {
		rules = append(rules, rule(tcp(), port(p), pass()))
	}
	return append(rules, rule(tcp(), redirect(o.inbound)))
}

// output takes what processes of the pod send. Its user distinguishes the proxy from the application.
func (o *options) output() [][]expr.Any {
	passthrough := net.IPNet{IP: net.IPv4(127, 0, 0, 6).To4(), Mask: net.CIDRMask(32, 32)}
	loopback := net.IPNet{IP: net.IPv4(127, 0, 0, 1).To4(), Mask: net.CIDRMask(32, 32)}
	rules := [][]expr.Any{
		// The proxy's own connections to the application.
		rule(toLoopback(), source(passthrough), pass()),
		// The application calls its own service: out through the proxy, and in again through the proxy.
		rule(tcp(), toLoopback(), user(o.proxyUser, true), destination(loopback, false), portIsNot(hbone), redirect(o.inbound)),
		rule(toLoopback(), user(o.proxyUser, false), pass()),
		rule(user(o.proxyUser, true), pass()),
		rule(destination(loopback, true), pass()),
	}
	for _, p := range o.excludeOutbound {
		rules = append(rules, rule(tcp(), port(p), pass()))
	}
	for _, network := range o.excludeNetworks {
		rules = append(rules, rule(destination(*network, true), pass()))
	}
	for _, p := range o.includeOutbound {
		rules = append(rules, rule(tcp(), port(p), redirect(o.outbound)))
	}
	for _, network := range o.includeNetworks {
		rules = append(rules, rule(tcp(), destination(*network, true), redirect(o.outbound)))
	}
	if o.allNetworks {
		rules = append(rules, rule(tcp(), redirect(o.outbound)))
	}
	return rules
}

// The words of a rule. Each loads into register 1 and compares.

func rule(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

func compare(equal bool, data []byte) expr.Any {
	operation := expr.CmpOpEq
	if !equal {
		operation = expr.CmpOpNeq
	}
	return &expr.Cmp{Op: operation, Register: 1, Data: data}
}

func tcp() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, compare(true, []byte{unix.IPPROTO_TCP})}
}

func user(id uint32, is bool) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeySKUID, Register: 1}, compare(is, binaryutil.NativeEndian.PutUint32(id))}
}

func toLoopback() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, compare(true, append([]byte("lo"), make([]byte, unix.IFNAMSIZ-2)...))}
}

func port(number uint16) []expr.Any      { return comparePort(number, true) }
func portIsNot(number uint16) []expr.Any { return comparePort(number, false) }

func comparePort(number uint16, is bool) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		compare(is, binaryutil.BigEndian.PutUint16(number)),
	}
}

func source(network net.IPNet) []expr.Any { return address(12, network, true) }

func destination(network net.IPNet, is bool) []expr.Any { return address(16, network, is) }

// address compares the address at an offset of the IPv4 header.
func address(offset uint32, network net.IPNet, is bool) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: network.Mask, Xor: make([]byte, 4)},
		compare(is, network.IP.To4()),
	}
}

func pass() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}} }

func redirect(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1},
	}
}
