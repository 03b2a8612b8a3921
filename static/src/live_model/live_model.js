import { RelationalModel } from "@web/model/relational_model/relational_model";

/**
 * The model of a view that reloads by itself.
 *
 * If core's model is told to load while it still loads, the first load never ends. A dialog that waits for it stays open,
 * and a page that waits for it never reloads again. Here the first load ends together with the last one, because the
 * data is there then.
 */
export class LiveModel extends RelationalModel {
    setup(...args) {
        super.setup(...args);
        this.waiting = new Set();
    }

    load(params) {
        return new Promise((resolve, reject) => {
            this.waiting.add(resolve);
            super
                .load(params)
                .catch(reject)
                .finally(() => {
                    // Only the last load comes here.
                    this.waiting.forEach((end) => end());
                    this.waiting.clear();
                });
        });
    }
}
