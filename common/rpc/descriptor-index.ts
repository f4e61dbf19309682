/**
 * What a compiled descriptor image (`buf build -o image.binpb`) contains, by name: files, symbols, extensions.
 * Raw descriptors are kept as they are: re-made ones lose dependencies and qualified names (grpc-node#3018, #2595).
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';

interface DescriptorFile {
  readonly name: string;
  /** The serialized FileDescriptorProto. */
  readonly bytes: Buffer;
  readonly dependencies: readonly string[];
}

export class DescriptorIndex {
  readonly #files = new Map<string, DescriptorFile>();
  /** Full name of a message, enum, service, method, field, enum value or extension -> name of its file. */
  readonly #fileOfSymbol = new Map<string, string>();
  readonly #messages = new Set<string>();
  /** Full name of the extended message -> extension number -> name of the file. */
  readonly #extensions = new Map<string, Map<number, string>>();

  /** @throws Error when the image is not a serialized google.protobuf.FileDescriptorSet. */
  constructor(image: Uint8Array) {
    for (const file of fromBinary(FileDescriptorSetSchema, image).file) {
      const bytes = Buffer.from(toBinary(FileDescriptorProtoSchema, file));
      this.#files.set(file.name, { name: file.name, bytes, dependencies: file.dependency });
      this.#indexFile(file);
    }
  }

  /** The file and all that it imports, serialized, the file itself first; undefined for an unknown name. */
  fileByName(name: string): readonly Buffer[] | undefined {
    if (!this.#files.has(name)) return undefined;
    const closure = new Map<string, Buffer>();
    const pending = [name];
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      const file = this.#files.get(next);
      if (file === undefined || closure.has(next)) continue;
      closure.set(next, file.bytes);
      pending.push(...file.dependencies);
    }
    return [...closure.values()];
  }

  /** As `fileByName`, for the file that declares a symbol. A leading dot is allowed. */
  fileBySymbol(symbol: string): readonly Buffer[] | undefined {
    const name = this.#fileOfSymbol.get(symbol.replace(/^\./, ''));
    return name === undefined ? undefined : this.fileByName(name);
  }

  /** As `fileByName`, for the file that declares an extension. */
  fileByExtension(message: string, number: number): readonly Buffer[] | undefined {
    const name = this.#extensions.get(message.replace(/^\./, ''))?.get(number);
    return name === undefined ? undefined : this.fileByName(name);
  }

  /** Numbers of all known extensions of a message, ascending; undefined for an unknown message. */
  extensionNumbers(message: string): readonly number[] | undefined {
    const name = message.replace(/^\./, '');
    if (!this.#messages.has(name)) return undefined;
    return [...(this.#extensions.get(name)?.keys() ?? [])].sort((a, b) => a - b);
  }

  #indexFile(file: FileDescriptorProto): void {
    const add = (scope: string, name: string): string => {
      const fullName = scope === '' ? name : `${scope}.${name}`;
      this.#fileOfSymbol.set(fullName, file.name);
      return fullName;
    };
    const addExtensions = (scope: string, extensions: readonly FieldDescriptorProto[]) => {
      for (const extension of extensions) {
        add(scope, extension.name);
        const extended = extension.extendee.replace(/^\./, '');
        const numbers = this.#extensions.get(extended) ?? new Map<number, string>();
        this.#extensions.set(extended, numbers.set(extension.number, file.name));
      }
    };
    const addMessage = (scope: string, message: DescriptorProto) => {
      const name = add(scope, message.name);
      this.#messages.add(name);
      for (const field of [...message.field, ...message.oneofDecl]) add(name, field.name);
      for (const type of message.enumType) addEnum(name, type);
      addExtensions(name, message.extension);
      for (const nested of message.nestedType) addMessage(name, nested);
    };
    const addEnum = (scope: string, type: FileDescriptorProto['enumType'][number]) => {
      add(scope, type.name);
      // Enum values live beside their enum, as in C++.
      for (const value of type.value) add(scope, value.name);
    };
    for (const message of file.messageType) addMessage(file.package, message);
    for (const type of file.enumType) addEnum(file.package, type);
    addExtensions(file.package, file.extension);
    for (const service of file.service) {
      const name = add(file.package, service.name);
      for (const method of service.method) add(name, method.name);
    }
  }
}
