/**
 * The descriptor index with what this protocol has none of: extensions, and a file without a package.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { expect } from 'chai';
import { DescriptorIndex } from '../../../common/rpc/descriptor-index.ts';

const image = toBinary(
  FileDescriptorSetSchema,
  create(FileDescriptorSetSchema, {
    file: [
      { name: 'base.proto', messageType: [{ name: 'Base' }, { name: 'Plain' }] },
      {
        name: 'more.proto',
        package: 'more',
        dependency: ['base.proto'],
        messageType: [{ name: 'Holder', extension: [{ name: 'inner', number: 200, extendee: '.Base' }] }],
        extension: [{ name: 'outer', number: 100, extendee: '.Base' }],
      },
    ],
  }),
);

describe('the descriptor index', () => {
  const index = new DescriptorIndex(image);
  const namesOf = (files: readonly Buffer[] | undefined) =>
    files?.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);

  it('knows the extensions of a message, wherever they are declared', () => {
    expect(index.extensionNumbers('.Base')).to.deep.equal([100, 200]);
    expect(index.extensionNumbers('Plain')).to.deep.equal([]);
    expect(namesOf(index.fileByExtension('.Base', 200))).to.deep.equal(['more.proto', 'base.proto']);
    expect(index.fileByExtension('Base', 300)).to.equal(undefined);
  });

  it('calls things by their full names, with or without a package', () => {
    for (const symbol of ['more.outer', 'more.Holder.inner', '.more.Holder']) {
      expect(namesOf(index.fileBySymbol(symbol)), symbol).to.deep.equal(['more.proto', 'base.proto']);
    }
    expect(namesOf(index.fileBySymbol('Base'))).to.deep.equal(['base.proto']);
    expect(index.fileBySymbol('outer')).to.equal(undefined);
  });
});
