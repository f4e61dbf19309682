import { expect } from 'chai';
import { addressGroup, hostOfPeer, isLoopbackHost, isOnThisMachine } from '../../../common/rpc/peer-address.ts';

describe('addresses of peers', () => {
  it('lose their port', () => {
    const hosts = ['10.0.0.1:4711', 'fe80::1:4711', 'unix'].map(hostOfPeer);
    expect(hosts).to.deep.equal(['10.0.0.1', 'fe80::1', 'unix']);
  });

  it('count together where one caller has many: IPv6 by its first half, IPv4 as it is', () => {
    expect(addressGroup('10.0.0.1')).to.equal('10.0.0.1');
    expect(addressGroup('::ffff:10.0.0.1')).to.equal('10.0.0.1');
    expect(addressGroup('2001:db8:0:1:2:3:4:5')).to.equal('2001:db8:0:1::/64');
    expect(addressGroup('2001:DB8:0:1::9')).to.equal('2001:db8:0:1::/64');
    expect(addressGroup('fe80::1%eth0')).to.equal('fe80:0:0:0::/64');
    expect(addressGroup('unix')).to.equal('unix');
  });

  it('are of this machine, or not', () => {
    const here = ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'];
    const away = ['10.0.0.1', '2001:db8::1', '::ffff:10.0.0.1', 'unix', ''];
    expect(here.map(isLoopbackHost)).to.deep.equal(here.map(() => true));
    expect(away.map(isLoopbackHost)).to.deep.equal(away.map(() => false));
    const peers = ['127.0.0.1:4711', '::1:4711', 'unknown', '10.0.0.1:4711', '2001:db8::1:4711'];
    expect(peers.map(isOnThisMachine)).to.deep.equal([true, true, true, false, false]);
  });
});
