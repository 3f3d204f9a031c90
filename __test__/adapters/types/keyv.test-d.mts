import Keyv from 'keyv';
import Keyv6 from 'keyv-6';
import {
  Keyv6Store,
  KeyvStore,
  type KeyvStoreOptions,
} from 'lru-cache-for-clusters-as-promised/keyv';

const options: KeyvStoreOptions = { namespace: 'keyv', max: 10, timeout: 100 };
const five = new Keyv<string>({ store: new KeyvStore(options), namespace: 'users' });
const text: string | undefined = await five.get('a');
new Keyv(new KeyvStore());
const six = new Keyv6({ store: new Keyv6Store(options) });
await six.set('a', text);
new Keyv6({ store: new KeyvStore() });

// @ts-expect-error: the stores reject, always
new KeyvStore({ failsafe: 'resolve' });
// @ts-expect-error: no option
new Keyv6Store({ maxx: 1 });
